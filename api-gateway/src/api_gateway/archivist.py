"""What follows the end of a user's session: its transcript goes to the archive, and into Omi if wished.

Any gateway may do it. The live path never waits for it: an archive that can't be reached is tried again,
and Redis keeps the session until then.
"""

from typing import Any, Final

import httpx
import orjson
import structlog
from obstore.exceptions import BaseError

from api_gateway import metrics
from api_gateway.archive import Archive
from api_gateway.documents import Document, document_of
from api_gateway.settings import GatewaySettings
from parlando.errors import ParlandoError, SessionNotFoundError
from parlando.outbound import Outbound
from parlando.redislog.chores import Chore, Chores
from parlando.redislog.connection import Redis
from parlando.redislog.history import History
from parlando.redislog.keys import ARCHIVERS, LONG_TTL_S, closed

LOOK_EVERY_S: Final = 0.5
DELAYS_S: Final = (5, 15, 60, 300, 900, 1800, 3600)
MOST_SEGMENTS: Final = 500  # that Omi takes at once
FAILURES: Final = (BaseError, OSError, httpx.HTTPError, ParlandoError)

log = structlog.get_logger(part="archive")


class Archivist:
    """A loop that looks for sessions that have ended."""

    def __init__(
        self, redis: Redis, history: History, archive: Archive, outbound: Outbound, settings: GatewaySettings
    ) -> None:
        self._history = history
        self._archive = archive
        self._outbound = outbound
        self._settings = settings
        self._chores = Chores(
            redis,
            closed,
            ARCHIVERS,
            worker="gateway",
            partitions=settings.partitions,
            delays_s=DELAYS_S,
        )
        self._failures = 0
        self._last_error: str | None = None

    async def run(self) -> None:
        """Work until cancelled."""
        await self._chores.work(self._do, every_s=LOOK_EVERY_S)

    async def report(self) -> dict[str, Any]:
        """How it goes, for /health."""
        return {
            "status": "healthy" if self._last_error is None else "failing",
            "waiting": await self._chores.waiting(),
            "failures": self._failures,
            "last_error": self._last_error,
        }

    async def _do(self, chore: Chore) -> None:
        sid = chore.fields["sid"].decode()
        try:
            document = await document_of(self._history, sid)
            await self._archive.put(document)
            if self._settings.omi_write_back and document["text"]:
                await self._write_back(document)
        except SessionNotFoundError:
            log.warning("archive.nothing", session=sid)  # deleted meanwhile
        except FAILURES as error:
            self._failures += 1
            self._last_error = f"{type(error).__name__}: {str(error)[:200]}"
            metrics.ARCHIVED.labels("failed").inc()
            log.warning("archive.failed", session=sid, attempt=chore.attempt, error=self._last_error)
            await self._history.keep(sid, LONG_TTL_S)
            return
        else:
            await self._history.keep(sid, self._settings.session_ttl_s)
        self._last_error = None
        metrics.ARCHIVED.labels("stored").inc()
        await self._chores.done(chore)

    async def _write_back(self, document: Document) -> None:
        """Give Omi the transcript; the session's id makes a repeat harmless."""
        segments = [
            {
                "text": s["text"],
                "start": s["start"],
                "end": s["end"],
                "speaker": "SPEAKER_00",
                "speaker_id": 0,
            }
            for s in document["segments"]
        ]
        for part in range(0, len(segments), MOST_SEGMENTS):
            body = {
                "transcript_segments": segments[part : part + MOST_SEGMENTS],
                "client_session_id": document["session_id"] + (f"-{part}" if part else ""),
                "source": "omi",
                "started_at": document["started_at"],
                "finished_at": document["ended_at"],
                "language": document["language"] or "en",
            }
            answer = await self._outbound.post(
                f"{self._settings.omi_api_base.rstrip('/')}/v1/dev/user/conversations/from-segments",
                orjson.dumps(body),
                headers={
                    "Content-Type": "application/json",
                    "Authorization": f"Bearer {self._settings.omi_dev_api_key}",
                },
            )
            answer.raise_for_status()
