"""A transcriber's claims on chunks of jobs: claim, renew, store results, hand back."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import orjson
import structlog
from pydantic import BaseModel, ConfigDict

from parlando.domain.job_options import MAX_ATTEMPTS, JobOptions
from parlando.domain.known_speakers import VoiceClip
from parlando.domain.transcript import FinalSegment, SpeakerRun
from parlando.errors import EngineError
from parlando.store import keys as names
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.keys import TRANSCRIBERS, JobKeys
from parlando.store.leases import Claims, Renewal
from parlando.store.work_queue import Delivered, WorkQueue

PAGE: Final = 50  # events per read
LABELLING: Final = -1
"""The number of the step that labels the speakers, in place of a chunk's."""
MAX_WHY: Final = 300  # maximum characters kept of a failure's reason

log = structlog.get_logger(part="chunks")


class ChunkSpec(BaseModel):
    """Description of a chunk. Positions in samples of the file.

    `start`: position of its first sample. `speech`: the intervals in which the voice detector detected
    speech.
    `covered_samples`: samples of the file, silence included, that are processed when this chunk is.
    """

    model_config = ConfigDict(frozen=True)

    start: int
    speech: tuple[tuple[int, int], ...]
    covered_samples: int
    speaker: str | None = None


@dataclass(frozen=True, slots=True)
class ChunkClaim:
    """A chunk claimed by this worker. `language`: the job's language if known."""

    keys: JobKeys
    key: str
    entry: str
    index: int
    work: ChunkSpec
    pcm: bytes
    options: JobOptions
    language: str | None

    @property
    def labels_speakers(self) -> bool:
        """Whether this is no chunk but the job's last step, which labels its speakers."""
        return self.index == LABELLING

    @property
    def name(self) -> str:
        """The job's id and the chunk's number."""
        return f"{self.keys.job}/{self.index}"

    @property
    def partition(self) -> int:
        """The job's partition."""
        return self.keys.partition


class ChunkClaims(Claims[ChunkClaim, Renewal]):
    """A transcriber's claims on the chunks of its pool, in all partitions."""

    def __init__(self, redis: Redis, *, pool: str, worker: str, partitions: int, lease_s: float) -> None:
        super().__init__(
            WorkQueue(
                redis,
                partial(names.chunks, pool=pool),
                TRANSCRIBERS,
                worker=worker,
                partitions=partitions,
                lease_s=lease_s,
                ttl_s=names.LONG_TTL_S,
            )
        )
        self._redis = redis
        self._scripts = Scripts(redis)
        self._pool = pool
        self._worker = worker

    async def _claim(self, delivered: Delivered) -> ChunkClaim | None:
        fields = delivered.fields
        keys = JobKeys(fields[b"job"].decode(), delivered.partition)
        key = fields[b"key"].decode()
        index = int(fields[b"index"])
        answer = await self._scripts.run(
            "claim_chunk", keys.all(key, self._pool), [index, delivered.entry, key[:16], MAX_ATTEMPTS]
        )
        if answer is None:
            return None
        try:
            return ChunkClaim(
                keys,
                key,
                delivered.entry,
                index,
                ChunkSpec.model_validate_json(fields[b"what"]),
                fields[b"pcm"],
                JobOptions.model_validate_json(answer[0]),
                answer[1].decode() if answer[1] else None,
            )
        except (KeyError, ValueError, TypeError) as error:  # written by another version of this program
            log.error("chunk.unreadable", job=keys.job, error=f"{type(error).__name__}: {error}")
            return None  # the attempt counts: the job fails after the last one

    async def renew(self, claims: Sequence[ChunkClaim]) -> list[Renewal]:
        """Renew leases, in one round trip."""
        answers = await self._scripts.run_many(
            "renew_chunk",
            [
                ([names.chunks(claim.keys.partition, self._pool)], [TRANSCRIBERS, self._worker, claim.entry])
                for claim in claims
            ],
        )
        return [Renewal(lost=answer == 0) for answer in answers]

    async def done(
        self,
        claim: ChunkClaim,
        segments: Sequence[FinalSegment],
        language: str | None,
        *,
        voices: bytes = b"",
    ) -> None:
        """Store the result. If another worker has stored one already, that one is kept.

        `voices`: for the last step of a job whose speakers are labelled, see `results` and `label`.
        """
        body = orjson.dumps(
            [segment.model_dump(exclude={"segment"}, exclude_defaults=True) for segment in segments]
        )
        await self._scripts.run(
            "part",
            claim.keys.all(claim.key, self._pool),
            [claim.index, body, claim.work.covered_samples, language or "", voices],
        )

    async def results(self, claim: ChunkClaim) -> AsyncIterator[tuple[list[FinalSegment], bytes]]:
        """The segments and the voices of each chunk of a job whose chunks are all decoded, in order."""
        after, number = 0, 0
        while True:
            start = f"({after}-0"
            page: Any = await retried(
                lambda start=start: self._redis.xrange(claim.keys.events, min=start, count=PAGE)  # type: ignore[misc]
            )
            for identifier, fields in page:
                after = int(identifier.partition(b"-")[0])
                event = orjson.loads(fields[b"e"])
                if event["type"] != "segments":
                    continue
                segments = [FinalSegment(segment=0, **segment) for segment in event["segments"]]
                voices: Any = await retried(
                    lambda number=number: self._redis.hget(claim.keys.parts, f"v{number}")  # type: ignore[misc]
                )
                yield segments, voices or b""
                number += 1
            if len(page) < PAGE:
                return

    async def label(self, claim: ChunkClaim, speakers: Sequence[Sequence[SpeakerRun]]) -> None:
        """Store the speakers of all segments, which completes the job. Safe to repeat."""
        body = orjson.dumps([[run.model_dump(exclude_none=True) for run in runs] for runs in speakers])
        await self._scripts.run("label_job", claim.keys.all(claim.key, self._pool), ["speakers", body])

    async def enrol(self, claim: ChunkClaim, voice: VoiceClip) -> None:
        """Store the voice of a clip, which completes the job. Safe to repeat."""
        body = voice.model_dump_json()
        await self._scripts.run("label_job", claim.keys.all(claim.key, self._pool), ["voice", body])

    async def hand_back(self, claim: ChunkClaim) -> None:
        """Queue a chunk again, so that another worker of the pool can take it at once."""
        await self._return(claim, "")

    async def failed(self, claim: ChunkClaim, error: Exception) -> None:
        """Queue a failed chunk again and count the attempt; after the last one the job fails."""
        known = isinstance(error, EngineError)
        await self._return(claim, str(error) if known else "the transcriber failed on it")

    async def _return(self, claim: ChunkClaim, why: str) -> None:
        await self._scripts.run(
            "return_chunk",
            claim.keys.all(claim.key, self._pool),
            [
                claim.index,
                claim.entry,
                why[:MAX_WHY],
                MAX_ATTEMPTS,
                claim.work.model_dump_json(exclude_none=True),
                claim.pcm,
            ],
        )
