"""Opens, resumes or reopens the session that a client requests.

To reopen is to continue a session that Redis has lost, from the position that the client sends.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from api_gateway import metrics
from api_gateway.auth import Principal
from api_gateway.dependencies import Services
from api_gateway.doors.base import SessionRequest
from api_gateway.limits.sessions import SessionMeter
from api_gateway.live.token_sessions import TokenSessions, UsedUpError
from parlando.domain.audio import SAMPLES_PER_MS
from parlando.domain.config import SessionConfig
from parlando.domain.formats import AudioFormat
from parlando.errors import NotAllowedError, SessionNotFoundError, SessionTakenError
from parlando.ids import new_session_id, new_token
from parlando.store.pools import Place
from parlando.store.sessions import Attached, Continued, SessionWriter

MIN_TOKEN: Final = 16  # characters of a resume token that may reopen a session


def received_by(writer: SessionWriter) -> dict[str, int]:
    """The stored audio in the client's units: samples at its own rate, or bytes of a container."""
    position, form = writer.position, writer.format
    if form.whole:
        return {"received": position}
    return {"received": position, "received_ms": position * 1000 // form.sample_rate}


@dataclass(frozen=True, slots=True)
class Opened:
    """See `doors.base.OpenedSession`. `writer`: writes to the session, with this connection's epoch."""

    writer: SessionWriter
    resume_token: str
    seq: int
    resumed: dict[str, Any] = field(default_factory=dict)
    engine: str | None = None
    model: str | None = None

    @property
    def id(self) -> str:
        """See `OpenedSession`."""
        return self.writer.sid

    @property
    def epoch(self) -> int:
        """See `OpenedSession`."""
        return self.writer.epoch

    @property
    def format(self) -> AudioFormat:
        """See `OpenedSession`."""
        return self.writer.format

    @property
    def received(self) -> dict[str, int]:
        """See `OpenedSession`."""
        return received_by(self.writer)


class Opening:
    """Opens sessions for one caller.

    `counted`: where those that it makes are counted. `waits`: whether it waits for a place, if none is free.
    """

    def __init__(
        self, services: Services, caller: Principal, counted: TokenSessions, *, waits: bool = True
    ) -> None:
        self._services = services
        self._counted = counted
        self._waits = waits
        self._owner = caller.owner
        self._holder = caller.holder
        self._by_token = caller.by_token

    async def open(self, request: SessionRequest) -> Opened:
        """Open or resume the requested session.

        Raises
        ------
        InvalidRequestError, SessionTakenError, SessionNotFoundError, AtCapacityError, UnavailableError
        NotAllowedError
            if the caller's token has opened the sessions that it may open; attaching to one isn't counted.
        TooManySessionsError, QuotaExceededError
            if a limit is reached; a session that is attached to isn't refused.

        """
        if request.resume:
            return await self._resume_or_refuse(request)
        return await self._new(request)

    async def reformat(self, opened: Opened, form: AudioFormat) -> None:
        """Set another audio format, before the first audio. Raises as `open`."""
        await self._services.admission.check_format(form)
        await opened.writer.reformat(form)

    def meter(self, opened: Opened, request: SessionRequest) -> SessionMeter:
        """Counts the session, and watches the quotas of its audio."""
        window_s = self._window_s(request)
        return self._services.limits.sessions.meter(self._holder, opened.id, window_s=window_s)

    def _window_s(self, request: SessionRequest) -> float:
        window_s = request.window_s
        return self._services.settings.resume_window_s if window_s is None else window_s

    async def check(self, opened: Opened, changes: Mapping[str, Any]) -> None:
        """Refuse changes of the config that the session's pool can't apply. Raises `InvalidRequestError`."""
        await self._services.admission.check_change(opened.writer.pool, SessionConfig(**changes))

    async def _new(self, request: SessionRequest) -> Opened:
        token = new_token()
        config = request.config.with_default_language(self._services.settings.default_language)
        if request.preferred_language is not None:
            language = await self._services.admission.language_or_none(request.preferred_language)
            config = config.model_copy(update={"language": language})
        await self._places(request, config)  # a request that no pool can do isn't counted
        name = request.session_id or new_session_id()
        await self._counted.count()
        try:
            writer = await self._open(name, request, config, token)
        except SessionTakenError:
            if request.must_be_new:
                raise
            writer = await self._open(new_session_id(), request, config, token)
        metrics.OPENED.labels("new").inc()
        return await self._opened(writer, token, writer.seq)

    async def _places(self, request: SessionRequest, config: SessionConfig) -> list[Place]:
        return await self._services.admission.places(
            request.format, config.languages, config.required_task, config.stage_names
        )

    async def _open(
        self,
        sid: str,
        request: SessionRequest,
        config: SessionConfig,
        token: str,
        continued: Continued | None = None,
    ) -> SessionWriter:
        sessions = self._services.limits.sessions
        await sessions.admit(self._holder, sid, window_s=self._window_s(request))
        try:
            return await self._made(sid, request, config, token, continued)
        except SessionTakenError:
            if not await self._is_own(sid):  # otherwise another connection counts it
                await sessions.release(self._holder, sid)
            raise
        except BaseException:
            await sessions.release(self._holder, sid)
            raise

    async def _is_own(self, sid: str) -> bool:
        """Whether a session that is open belongs to the caller's owner."""
        try:
            record = await self._services.history.record(sid)
        except SessionNotFoundError:
            return False
        return record.key == self._owner and record.state != "closed"

    async def _made(
        self,
        sid: str,
        request: SessionRequest,
        config: SessionConfig,
        token: str,
        continued: Continued | None,
    ) -> SessionWriter:
        return await self._services.shares.opened(
            self._owner,
            lambda: self._places(request, config),
            lambda limited: self._services.sessions.open(
                sid,
                places=limited,
                config=config.model_dump(exclude_none=True),
                token=token,
                key=self._owner,
                form=request.format,
                uid=request.uid,
                push=request.push and bool(self._services.settings.omi_transcript_webhook),
                window_s=request.window_s,
                continued=continued,
                replace=not self._by_token,
                api_key=self._holder.key_id,
            ),
            wait=self._waits,
        )

    async def _opened(self, writer: SessionWriter, token: str, seq: int, **resumed: Any) -> Opened:
        pool = await self._services.admission.pool(writer.pool)
        engine, model = (pool.engine, pool.model) if pool else (None, None)
        return Opened(writer, token, seq, resumed, engine, model)

    # --- resuming ---------------------------------------------------------------------------------

    async def _resume_or_refuse(self, request: SessionRequest) -> Opened:
        """A wrong token and an unknown id raise the same error, so that it doesn't reveal which ids exist."""
        try:
            return await self._resume(request)
        except UsedUpError:
            raise
        except (SessionNotFoundError, NotAllowedError) as error:
            raise SessionNotFoundError(
                f"No session {request.session_id} can be resumed with this resume token and key; "
                "it may have expired"
            ) from error

    async def _resume(self, request: SessionRequest) -> Opened:
        sid, continued = request.session_id or "", _continued(request)
        try:
            attached = await self._attach(sid, request)
        except SessionNotFoundError:
            if continued is None:
                raise
            return await self._reopen(request, continued)
        if continued is not None and attached.behind(continued):
            return await self._reopen(request, continued)
        return await self._resumed(request, attached)

    async def _attach(self, sid: str, request: SessionRequest) -> Attached:
        """Attach to a session: an owner by its key too, an access token by the resume token only."""
        key = "" if self._by_token else self._owner
        attached = await self._services.sessions.attach(sid, token=request.resume or "", key=key)
        if attached.state != "closed":
            sessions = self._services.limits.sessions
            await sessions.admit(self._holder, sid, window_s=self._window_s(request), attached=True)
        return attached

    async def _resumed(self, request: SessionRequest, attached: Attached) -> Opened:
        metrics.OPENED.labels("resumed").inc()
        seq = min(request.last_seq, attached.seq)
        return await self._opened(
            attached.writer, request.resume or "", seq, resumed=True, state=attached.state
        )

    async def _reopen(self, request: SessionRequest, continued: Continued) -> Opened:
        """Open a session that Redis has lost, at the client's position and with the same token."""
        sid, token = request.session_id or "", request.resume or ""
        if len(token) < MIN_TOKEN:
            raise NotAllowedError("Expected the `resume_token` of the `connected` message")
        await self._places(request, request.config)
        await self._counted.count()
        try:
            writer = await self._open(sid, request, request.config, token, continued)
        except SessionTakenError:  # another connection of the same client was faster
            await self._counted.release_last()
            attached = await self._attach(sid, request)
            return await self._resumed(request, attached)
        metrics.OPENED.labels("reopened").inc()
        return await self._opened(writer, token, writer.seq, resumed=True, reopened=True, state="open")


def _continued(request: SessionRequest) -> Continued | None:
    """The position to reopen the session at if Redis has lost it; None if the client sends none."""
    if request.start_at is None:
        return None
    settled = request.settled_ms * SAMPLES_PER_MS
    return Continued(request.last_seq, request.segments, request.start_at, settled)
