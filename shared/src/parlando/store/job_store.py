"""A gateway's access to jobs: submit, read, list, cancel."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from parlando.domain.audio import seconds
from parlando.domain.decode_options import written_in
from parlando.domain.job_events import JobEvent
from parlando.domain.job_options import JobOptions, JobStatus
from parlando.domain.known_speakers import VoiceClip
from parlando.domain.transcript import FinalSegment, SpeakerRun, Transcript
from parlando.errors import AtCapacityError, ConflictError, JobNotFoundError
from parlando.store import keys as names
from parlando.store.connection import Redis, Scripts, of_all_partitions, retried
from parlando.store.keys import LONG_TTL_S, JobKeys

PAGE: Final = 200
LAST_EVENTS: Final = 3
"""Events at the end of a job, among which its speakers are."""


def unknown(job: str) -> JobNotFoundError:
    """The error for a job that does not exist."""
    return JobNotFoundError(
        f"No job {job} is known: it was deleted, it has expired, or Redis restarted without its data; in "
        "that case submit it again (with REDIS_DURABLE=1 jobs survive)"
    )


@dataclass(frozen=True, slots=True)
class Source:
    """The source of a job's audio. `blob`: path in the blob store. `url`: URL to download it from, or "".

    `max_bytes`: of what is downloaded; 0 if only `MAX_UPLOAD_MB` limits it.
    """

    blob: str
    name: str
    size: int = 0
    digest: str = ""
    url: str = ""
    max_bytes: int = 0

    @classmethod
    def of(cls, h: Mapping[str, str]) -> "Source":
        """Decode the fields of a job's hash."""
        size, max_bytes = (int(h.get(name, 0)) for name in ("size", "max_bytes"))
        return cls(h["blob"], h["name"], size, h.get("digest", ""), h.get("url", ""), max_bytes)


@dataclass(frozen=True, slots=True)
class JobRecord:
    """A job's hash. Times in unix milliseconds (0: not yet), audio in samples, `key` hashed."""

    job: str
    key: str
    status: JobStatus
    options: JobOptions
    source: Source
    created_ms: int
    started_ms: int
    ended_ms: int
    updated_ms: int
    attempts: int
    duration: int
    """Length of the file; 0 until all of it has been decoded."""
    expected: int
    """Length of all channels together according to the file's header; 0 if unknown."""
    cut: bool
    """Whether all chunks are queued."""
    progress: float
    language: str | None
    error: dict[str, str] | None
    pool: str
    """The pool of transcribers that decodes it."""
    seq: int = 0
    """Number of the last event."""
    audio: int = 0
    """Length of all channels together; 0 until all of the file has been decoded."""
    speaker_names: dict[str, str] = field(default_factory=dict)
    """The names that were given to its speakers, by their labels."""

    @classmethod
    def of(cls, job: str, found: dict[bytes, bytes]) -> "JobRecord":
        """Decode a job's hash."""
        h = {name.decode(): value.decode() for name, value in found.items()}
        return cls(
            job=job,
            key=h["key"],
            status=JobStatus(h["state"]),
            options=JobOptions.model_validate_json(h["options"]),
            source=Source.of(h),
            created_ms=int(h["created"]),
            started_ms=int(h.get("started", 0)),
            ended_ms=int(h.get("ended", 0)),
            updated_ms=int(h.get("updated", h["created"])),
            attempts=int(h["attempts"]),
            duration=int(h.get("duration", 0)),
            expected=int(h["expected"]),
            cut="cut" in h,
            progress=float(h["shown"]),
            language=h.get("language") or None,
            error=orjson.loads(h["error"]) if h.get("error") else None,
            pool=h["pool"],
            seq=int(h["seq"]),
            audio=int(h.get("audio", 0)),
            speaker_names=orjson.loads(h.get("speaker_names", "{}")),
        )


@dataclass(frozen=True, slots=True)
class JobPage:
    """A page of a key's jobs, newest first. `next`: cursor of the next page, None after the last one."""

    records: list[JobRecord]
    next: str | None


class Jobs:
    """The jobs of a keyspace. `ttl_s`: lifetime of an ended job. `limit`: maximum waiting jobs."""

    def __init__(self, redis: Redis, *, partitions: int, ttl_s: int, limit: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._partitions = partitions
        self._ttl_s = ttl_s
        self._limit = limit

    def keys(self, job: str) -> JobKeys:
        """The keys of a job."""
        return JobKeys.of(job, self._partitions)

    async def submit(
        self,
        job: str,
        source: Source,
        options: JobOptions,
        *,
        pool: str,
        key: str,
        listed: bool = True,
        api_key: str = "",
    ) -> bool:
        """Queue a job for a pool. Returns False if it was submitted before with the same audio.

        `api_key`: id of the stored key, for which the usage is counted as well.

        Raises
        ------
        ConflictError
            if a job with this id has other audio.
        AtCapacityError, UnavailableError

        """
        fields = {
            "blob": source.blob,
            "name": source.name,
            "size": source.size,
            "digest": source.digest,
            "url": source.url,
            "max_bytes": source.max_bytes,
        }
        if api_key:
            fields["api_key"] = api_key
        if options.only_language:
            fields["language"] = options.only_language
        if options.labels_speakers:
            fields["diarize"] = 1
        answer: Any = await self._scripts.run(
            "submit_job",
            self.keys(job).all(key, pool),
            [
                key,
                options.model_dump_json(exclude_none=True),
                options.priority.value,
                options.priority.weight,
                max(1, self._limit // self._partitions),
                self._ttl_s,
                LONG_TTL_S,
                int(bool(options.callback_url)),
                int(listed),
                int(bool(options.analyze)),
                *(part for field in fields.items() for part in field),
            ],
        )
        match answer[0]:
            case b"ok":
                return True
            case b"full":
                raise AtCapacityError(
                    f"{self._limit} jobs are waiting, which is the maximum; try again later"
                )
            case _ if answer[1].decode() == key and answer[2].decode() == source.digest:
                return False
            case _:
                raise ConflictError("This Idempotency-Key was used before, with another file")

    async def record(self, job: str) -> JobRecord:
        """The record of a job. Raises `JobNotFoundError`."""
        name = self.keys(job).record
        found: Any = await retried(lambda: self._redis.hgetall(name))
        if not found:
            raise unknown(job)
        return JobRecord.of(job, found)

    async def known(self, job: str) -> bool:
        """Return True if the job exists. Raises `JobNotFoundError` if not, also if Redis has lost it."""
        name = self.keys(job).record
        if not await retried(lambda: self._redis.exists(name)):
            raise unknown(job)
        return True

    async def still_waiting(self, jobs: Sequence[str]) -> dict[str, bool]:
        """Whether jobs wait until their file is decoded, of those that are known."""

        async def ask() -> list[Any]:
            async with self._redis.pipeline(transaction=False) as pipe:
                for job in jobs:
                    pipe.hget(self.keys(job).record, "state")
                found: list[Any] = await pipe.execute()
            return found

        states = await retried(ask) if jobs else []
        pairs = zip(jobs, states, strict=True)
        return {job: state.decode() == JobStatus.UPLOADED for job, state in pairs if state}

    async def segments(self, job: str) -> AsyncIterator[FinalSegment]:
        """Yield the results so far, in the order of the audio (with split channels: of the chunks)."""
        name, after, number = self.keys(job).events, 0, 0
        while True:
            start = f"({after}-0"
            page: Any = await retried(lambda start=start: self._redis.xrange(name, min=start, count=PAGE))  # type: ignore[misc]
            for identifier, fields in page:
                after = int(identifier.partition(b"-")[0])
                for segment in orjson.loads(fields[b"e"]).get("segments", ()):
                    yield FinalSegment(segment=number, **segment)
                    number += 1
            if len(page) < PAGE:
                return

    async def transcript(self, record: JobRecord) -> Transcript:
        """The transcript so far, its segments numbered in their order; those of channels by their start.

        Speakers have the names that were given to them.
        """
        segments = await self._final_segments(record)
        if record.options.channels == "split":
            segments.sort(key=lambda segment: (segment.start, segment.speaker))
        return Transcript.of(
            record.job,
            state=record.status,
            duration=seconds(record.duration),
            segments=[segment.model_copy(update={"segment": n}) for n, segment in enumerate(segments)],
            language=record.language,
        ).named(record.speaker_names)

    async def _final_segments(self, record: JobRecord) -> list[FinalSegment]:
        """The segments, divided between their speakers once these are known."""
        options = record.options
        segments = [segment async for segment in self.segments(record.job)]
        if not options.labels_speakers:
            return segments
        runs = await self._speakers(record)
        if runs:
            found = []
            for segment, of_segment in zip(segments, runs, strict=False):
                language = written_in(segment.language, options.task)
                found += segment.divided(of_segment, language=language)
            segments = found + segments[len(runs) :]
        if options.words:
            return segments
        return [segment.model_copy(update={"words": ()}) for segment in segments]

    async def _speakers(self, record: JobRecord) -> Sequence[Sequence[SpeakerRun]]:
        """The speakers of the segments; empty before they are known."""
        event = await self._last(record, "speakers")
        return event.speakers if event else ()

    async def voice(self, record: JobRecord) -> VoiceClip | None:
        """The voice of a completed job that enrols a speaker; None if there was no speech."""
        event = await self._last(record, "voice")
        return event.voice if event else None

    async def _last(self, record: JobRecord, kind: str) -> JobEvent | None:
        """The event of a kind among the last ones."""
        name = self.keys(record.job).events
        page: Any = await retried(lambda: self._redis.xrevrange(name, count=LAST_EVENTS))
        events = [JobEvent.model_validate_json(fields[b"e"]) for _, fields in page]
        return next((event for event in events if event.type == kind), None)

    async def newest(self, key: str, *, before: str | None, limit: int) -> JobPage:
        """Up to `limit` jobs of a key, newest first. `before`: the `next` of the previous page."""
        found: list[tuple[int, str]] = []
        for partition in range(self._partitions):
            found += await self._listed(names.job_list(partition, key), before, limit)
        page = sorted(found, reverse=True)[:limit]
        records = []
        for _, job in page:
            try:
                records.append(await self.record(job))
            except JobNotFoundError:
                listed = names.job_list(self.keys(job).partition, key)
                await retried(lambda listed=listed, job=job: self._redis.zrem(listed, job))  # type: ignore[misc]
        more = len(page) == limit  # also if some of them have expired
        return JobPage(records, f"{page[-1][0]}-{page[-1][1]}" if more else None)

    async def _listed(self, name: str, before: str | None, limit: int) -> list[tuple[int, str]]:
        """Up to `limit` jobs of a list, newest first: time of submission and id."""
        until, same = "+inf", []
        if before is not None:
            ms, _, job = before.partition("-")
            until = f"({ms}"
            ties: Any = await retried(lambda: self._redis.zrangebyscore(name, ms, ms))
            same = [(int(ms), tie.decode()) for tie in ties if tie.decode() < job]
        older: Any = await retried(
            lambda: self._redis.zrevrangebyscore(name, until, "-inf", start=0, num=limit, withscores=True)
        )
        return same + [(int(created), job.decode()) for job, created in older]

    async def cancel(self, record: JobRecord) -> None:
        """Cancel a job that has not ended. The caller deletes its audio. Raises `JobNotFoundError`."""
        keys = self.keys(record.job)
        args = ["", "cancelled", ""]
        while await self._scripts.run("end_job", keys.all(record.key, record.pool), args) == b"moved":
            record = await self.record(record.job)  # it was unassigned when the caller read it

    async def forget(self, record: JobRecord) -> None:
        """Delete the data of an ended job."""
        await self._scripts.run("forget_job", self.keys(record.job).all(record.key, record.pool), [])

    async def exists(self, job: str) -> bool:
        """Whether a job exists."""
        name = self.keys(job).record
        return bool(await retried(lambda: self._redis.exists(name)))

    async def waiting(self) -> int:
        """The number of jobs that are not admitted yet, without those of `unassigned`."""
        return await self._count(unassigned=False)

    async def unassigned(self) -> int:
        """The number of jobs that have no pool yet; see `unassigned.Unassigned`."""
        return await self._count(unassigned=True)

    async def _count(self, *, unassigned: bool) -> int:
        counts = await of_all_partitions(
            self._redis,
            self._partitions,
            lambda pipe, p: pipe.zcard(names.waiting(p, unassigned=unassigned)),
        )
        return sum(counts)
