"""An audio-processor's access to sessions: claim the conversion, append PCM, forward controls.

Every write is a script that checks the epoch of the conversion, as `session_log` does for recognition.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson

from parlando.domain import commands
from parlando.domain.commands import End, EndError, SessionCommand
from parlando.domain.events import Status
from parlando.domain.formats import CANONICAL, AudioFormat
from parlando.errors import FencedError, InvalidAudioError, ParlandoError
from parlando.store.connection import Redis, Scripts
from parlando.store.keys import PROCESSORS
from parlando.store.session_claims import CONVERSION, RoleClaims, SessionClaim

_KEPT: Final = {"seq", "epoch", "covers"}
"""Fields of kept events only."""


@dataclass(frozen=True, slots=True)
class ConversionClaim(SessionClaim):
    """The state of a conversion when it is claimed.

    `start`: sample at which the audio of the first byte begins. `emitted`: samples of PCM appended since
    then.
    `control`: number of the last control forwarded.
    `state`: state saved by the last owner, None if there was none.
    """

    format: AudioFormat
    emitted: int
    control: int
    state: dict[str, Any] | None
    taken_over: bool
    start: int = 0


class ConversionLog:
    """Fenced writes of a conversion's owner."""

    def __init__(self, scripts: Scripts, claim: ConversionClaim) -> None:
        self._scripts = scripts
        self._keys = claim.keys
        self._claim = claim
        self.emitted = claim.emitted
        """Samples of PCM that the conversion has appended to the session."""

    def _fenced(self) -> FencedError:
        return FencedError(
            f"Session {self._keys.sid} has closed, or another audio-processor owns its conversion"
        )

    async def emit(
        self,
        pcm: bytes,
        *,
        max_backlog: int,
        converted: int,
        needed: int,
        state: dict[str, Any],
        notices: Sequence[Status] = (),
    ) -> bool:
        """Append whole s16le samples. Returns False if the transcriber's backlog exceeds `max_backlog`.

        `max_backlog`: samples beyond the checkpoint. `converted`: bytes of the input converted so far.
        `needed`: first byte needed after a takeover; bytes below it are deleted. `state`: state to restore
        after a takeover. `notices`: sent to the clients with the samples; they aren't kept.

        Raises
        ------
        FencedError, UnavailableError

        """
        answer = await self._scripts.run(
            "emit",
            [self._keys.session, self._keys.pcm, self._keys.raw, self._keys.events],
            [
                self._claim.epoch,
                self._claim.start + self.emitted,
                pcm,
                max_backlog,
                converted,
                needed,
                orjson.dumps(state),
                *(notice.model_dump_json(exclude=_KEPT).encode() for notice in notices),
            ],
        )
        match answer[0]:
            case b"fenced":
                raise self._fenced()
            case b"lost":  # the next owner continues from the state in Redis
                raise FencedError(f"Redis has restarted without the last audio of session {self._keys.sid}")
            case b"full":
                return False
        self.emitted += len(pcm) // 2
        return True

    async def forward(self, command: SessionCommand, number: int | None) -> None:
        """Append a command to the PCM stream. `number`: None for a command made by the audio-processor.

        Raises
        ------
        FencedError, UnavailableError

        """
        ok = await self._scripts.run(
            "forward",
            [self._keys.session, self._keys.pcm, self._keys.raw, self._keys.intake],
            [
                self._claim.epoch,
                "" if number is None else number,
                commands.encode(command),
                int(isinstance(command, End)),
                self._claim.entry,
                PROCESSORS,
            ],
        )
        if not ok:
            raise self._fenced()

    async def refuse(self, error: ParlandoError) -> None:
        """End the session because of an error in its audio. Raises as `forward`."""
        cause = EndError(code=error.code, message=error.message, retryable=error.retryable)
        await self.forward(End(reason=error.code, error=cause), None)


class ConversionClaims(RoleClaims[ConversionClaim]):
    """An audio-processor's claims on the conversions of sessions."""

    def __init__(self, redis: Redis, *, worker: str, partitions: int, ttl_s: int, **more: Any) -> None:
        """`more`: see `RoleClaims`."""
        super().__init__(redis, CONVERSION, worker=worker, partitions=partitions, ttl_s=ttl_s, **more)

    def _read(self, owned: SessionClaim, found: dict[str, bytes]) -> ConversionClaim:
        state = found.get("intake_state")
        start = int(found.get("input_start", 0))
        return ConversionClaim(
            keys=owned.keys,
            entry=owned.entry,
            epoch=owned.epoch,
            format=AudioFormat.model_validate_json(found["input"]),
            emitted=int(found["received"]) - start,
            control=int(found["intake_control"]),
            state=orjson.loads(state) if state else None,
            taken_over=owned.epoch > 1,
            start=start,
        )

    def own(self, claim: ConversionClaim) -> ConversionLog:
        """The fenced writer for a claim."""
        return ConversionLog(self.scripts, claim)

    async def _give_up(self, owned: SessionClaim) -> None:
        claim = ConversionClaim(owned.keys, owned.entry, owned.epoch, CANONICAL, 0, 0, None, True)
        message = "The audio can't be converted: the audio-processors failed on it"
        await self.own(claim).refuse(InvalidAudioError(message))
