"""Everything that runs scripts, over one Redis."""

from typing import Any

from parlando.domain.audio import Encoding
from parlando.domain.formats import AudioFormat
from parlando.domain.job_options import JobOptions
from parlando.store.chunk_claims import ChunkClaim, ChunkClaims
from parlando.store.connection import connect
from parlando.store.conversion_claims import ConversionClaims, ConversionLog
from parlando.store.http_audio import HttpAudio
from parlando.store.job_claims import Chunk, JobClaim, JobClaims, JobLog
from parlando.store.job_store import Jobs, Source
from parlando.store.session_log import SessionClaims, SessionLog
from parlando.store.sessions import Sessions, SessionWriter
from parlando.store.unassigned import Unassigned
from parlando.store.viewers import Viewers
from support.lost_answers import LostAnswer
from support.pools import PLACE, POOL

SECOND = b"\1\0" * 16_000
MOST = 1 << 30
RAW = AudioFormat(encoding=Encoding.MULAW, sample_rate=8000)
JOB = "j_" + "a" * 30
WORK = {"start": 0, "speech": [[0, 16_000]], "covered_samples": 16_000}


class Stage:
    """Everything that runs scripts, over one Redis; `arm` has the next answer of the case's script lost."""

    def __init__(self, url: str, script: str, *, lossy: bool) -> None:
        self.redis = connect(url)
        self.loss = LostAnswer(self.redis, script)
        self._lossy = lossy
        self.sessions = Sessions(self.redis, partitions=1, ttl_s=100)
        self.claims = SessionClaims(self.redis, pool=POOL, worker="t", partitions=1, ttl_s=100)
        self.intake = ConversionClaims(self.redis, worker="p", partitions=1, ttl_s=100)
        self.jobs = Jobs(self.redis, partitions=1, ttl_s=100, limit=10)
        self.processor = JobClaims(self.redis, worker="p", partitions=1, lease_s=60)
        self.chunks = ChunkClaims(self.redis, pool=POOL, worker="t", partitions=1, lease_s=60)
        self.unassigned = Unassigned(self.redis, partitions=1)
        self.viewers = Viewers(self.redis, partitions=1)
        self.bodies = HttpAudio(self.sessions, max_s=100, idle_s=60)

    def arm(self) -> None:
        self.loss.armed = self._lossy

    async def open(self, **options: Any) -> SessionWriter:
        options = {"places": [PLACE], **options}
        return await self.sessions.open("s", config={"title": "old"}, token="t", key="k", **options)

    async def owned(self, **options: Any) -> tuple[SessionWriter, SessionLog]:
        writer = await self.open(**options)
        [claim] = await self.claims.take_new(block_ms=100)
        return writer, self.claims.own(claim)

    async def converted(self) -> tuple[SessionWriter, ConversionLog]:
        writer = await self.open(form=RAW)
        [claim] = await self.intake.take_new(block_ms=100)
        return writer, self.intake.own(claim)

    async def opening(self, sid: str, form: AudioFormat) -> SessionWriter:
        return await self.sessions.open(
            sid, places=[PLACE], config={}, token="t", key="k", form=form, uid="u", metered=True
        )

    async def body(self, name: str = "n") -> Any:
        return await self.bodies.take("k", "u", 16_000, SECOND, name=name, named=True, opening=self.opening)

    async def submit(self, pool: str = POOL, **more: Any) -> bool:
        options = JobOptions(callback_url="https://example.org/hook", **more)
        return await self.jobs.submit(JOB, Source("blob", "a.wav", 1, "digest"), options, pool=pool, key="k")

    async def job(self, **options: Any) -> tuple[JobClaim, JobLog]:
        await self.submit(**options)
        await self.processor.admit(room=True)
        [claim] = await self.processor.take_new()
        return claim, JobLog(self.processor.scripts, claim)

    async def add(self, job: JobLog) -> bool:
        return await job.add(
            Chunk(0, WORK, SECOND), limit=9, position=16_000, expected=0, language_first=False
        )

    async def chunk(self, **options: Any) -> ChunkClaim:
        _, job = await self.job(**options)
        await self.add(job)
        await job.cut(16_000, 1)
        [claim] = await self.chunks.take_new(block_ms=100)
        return claim
