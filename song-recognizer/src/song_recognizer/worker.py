"""The worker: recognises songs in claimed sessions, and processes requests about files."""

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from parlando.background import background_thread
from parlando.blobs import Blobs
from parlando.domain.audio import BYTES_PER_SAMPLE
from parlando.errors import ParlandoError, UnavailableError
from parlando.store.connection import BROKEN
from parlando.store.leases import LeasePool, PoolMetrics
from parlando.store.requests import Responder
from parlando.store.session_claims import RENEW_EVERY_S, TAKE_OVER_EVERY_S, SessionRenewal
from parlando.store.session_reader import SessionReader
from parlando.store.song_claims import SongClaim, SongClaims
from parlando.store.song_index import SongIndex
from parlando.store.song_keys import QUEUE, RECOGNIZER
from parlando.store.work_queue import WorkQueue
from parlando.worker.queue_pool import QueuePool
from parlando.worker.service import Pool, WorkerService
from song_recognizer import metrics
from song_recognizer.decoding import Decoder
from song_recognizer.live import LiveSongs, Windows
from song_recognizer.recognition import Recogniser, parameters_of_index
from song_recognizer.requests import RequestProcessor
from song_recognizer.settings import SongSettings

DRAIN_S: Final = 10.0
SPREAD: Final = 12  # sessions held at which a worker waits longest before it claims another
REQUESTS: Final = 2  # at a time: one is decoded while the other is analysed
REQUEST_LEASE_S: Final = 15.0
SWEEP_EVERY_S: Final = 60.0

log = structlog.get_logger(part="worker")


class SongWorker(WorkerService):
    """One process of the song recognizer."""

    kind = RECOGNIZER

    def __init__(self, settings: SongSettings) -> None:
        super().__init__(settings, drain_s=DRAIN_S)
        self._settings = settings
        self._index = SongIndex(self.redis)
        self._thread = background_thread("songs")
        self._recogniser = Recogniser(self._index, self._thread)
        self._windows = Windows.of(settings.song_window_s, settings.song_step_s, settings.song_buffer_s)
        self._claims = SongClaims(
            self.redis,
            worker=self.id,
            partitions=settings.partitions,
            ttl_s=settings.session_ttl_s,
            lease_s=settings.song_lease_s,
            presence=self.presence,
        )
        self._sessions: LeasePool[SongClaim, SessionRenewal, LiveSongs] = LeasePool(
            self._claims,
            noun="session",
            begin=lambda claim: LiveSongs(claim, self._claims, self._recogniser, self._windows),
            room=lambda held: settings.song_sessions - held,
            renewed=self._renewed,
            metrics=PoolMetrics(metrics.SESSIONS, metrics.CLAIMS, metrics.FENCED),
            renew_every_s=RENEW_EVERY_S,
            take_over_every_s=TAKE_OVER_EVERY_S,
            spread=SPREAD,
        )
        self._reader = SessionReader(
            self._sessions,
            redis_url=settings.redis_url,
            partitions=settings.partitions,
            stream=lambda keys: keys.pcm,
            unit=BYTES_PER_SAMPLE,
        )
        self._decoder = Decoder(Blobs.of(settings), settings.decoder_url)
        processor = RequestProcessor(self._index, self._decoder, self._recogniser, self._thread)
        self._requests = QueuePool(
            "requests",
            WorkQueue(
                self.redis,
                lambda _: QUEUE.stream,
                QUEUE.group,
                worker=self.id,
                partitions=1,
                lease_s=REQUEST_LEASE_S,
            ),
            Responder(self.redis, QUEUE, processor.process).respond,
            concurrency=REQUESTS,
            lease_s=REQUEST_LEASE_S,
        )
        self._songs = 0

    async def prepare(self) -> None:
        """Check the parameters of the index. Raises `ConflictError` if they are those of another version."""
        try:
            await self._index.check(parameters_of_index())
        except UnavailableError as error:
            log.warning("redis.unreachable", error=error.message)

    def pools(self) -> Sequence[Pool]:
        """Sessions, and requests about files."""
        return [self._sessions, self._requests]

    def loops(self) -> Sequence[Coroutine[Any, Any, None]]:
        """The reader of the sessions' audio, and the sweep of removed songs."""
        return [self._reader.run(), self._sweep()]

    async def close(self) -> None:
        """Close its HTTP client and its thread."""
        await self._decoder.aclose()
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _renewed(self, session: LiveSongs, renewal: SessionRenewal) -> None:
        session.observe(renewal)

    async def _sweep(self) -> None:
        while True:
            try:
                if deleted := await self._index.sweep():
                    log.info("index.swept", records=deleted)
            except (ParlandoError, *BROKEN) as error:
                log.warning("sweep.failed", error=str(error))
            await asyncio.sleep(SWEEP_EVERY_S)

    async def after_beat(self) -> None:
        """Count the songs."""
        self._songs = await self._index.count()
        metrics.SONGS.set(self._songs)

    def report(self) -> dict[str, Any]:
        """See `WorkerService`."""
        return {
            "sessions": self._sessions.count,
            "capacity": self._settings.song_sessions,
            "requests": self._requests.count,
            "songs": self._songs,
        }
