"""What an audio-processor does to sessions: claim their conversion, add the PCM, carry controls over.

Every write is a script that checks the intake's own epoch, as `owner` does for recognition.
"""

from dataclasses import dataclass
from typing import Any

import orjson

from parlando.errors import FencedError, InvalidAudioError, ParlandoError
from parlando.formats import KEPT, AudioFormat
from parlando.redislog.claims import CONVERSION, RoleClaims, SessionClaim
from parlando.redislog.connection import Redis, Scripts
from parlando.redislog.keys import PROCESSORS


@dataclass(frozen=True, slots=True)
class IntakeClaim(SessionClaim):
    """A conversion as its new owner finds it.

    `emitted`: samples of PCM that are there, from `start` on, the sample at which the first byte is heard.
    `control`: number of the last control carried over.
    `state`: what the last owner noted, None if there was none.
    """

    format: AudioFormat
    emitted: int
    control: int
    state: dict[str, Any] | None
    taken_over: bool
    start: int = 0


class OwnedIntake:
    """The fenced pen of one conversion's owner."""

    def __init__(self, scripts: Scripts, claim: IntakeClaim) -> None:
        self._scripts = scripts
        self._keys = claim.keys
        self._claim = claim
        self.emitted = claim.emitted
        """Samples of PCM that the conversion has added to the session."""

    def _fenced(self) -> FencedError:
        return FencedError(f"Session {self._keys.sid} has closed, or another processor converts it")

    async def emit(
        self, pcm: bytes, *, most_backlog: int, converted: int, needed: int, state: dict[str, Any]
    ) -> bool:
        """Add whole s16le samples; False if too much PCM waits for the transcriber already.

        `converted`: bytes of the input that are done with; `needed`: the first byte that a new owner
        would want, everything below is deleted; `state`: what it would want to know besides.

        Raises
        ------
        FencedError, UnavailableError

        """
        answer = await self._scripts.run(
            "emit",
            [self._keys.session, self._keys.pcm, self._keys.raw],
            [
                self._claim.epoch,
                self._claim.start + self.emitted,
                pcm,
                most_backlog,
                converted,
                needed,
                orjson.dumps(state),
            ],
        )
        match answer[0]:
            case b"fenced":
                raise self._fenced()
            case b"lost":  # the next owner goes on from what Redis has
                raise FencedError(f"Redis has restarted without the last audio of session {self._keys.sid}")
            case b"full":
                return False
        self.emitted += len(pcm) // 2
        return True

    async def forward(self, control: dict[str, Any], number: int | None, *, ends: bool) -> None:
        """Carry a control over behind the PCM so far; None numbers one of the processor's own.

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
                orjson.dumps(control),
                int(ends),
                self._claim.entry,
                PROCESSORS,
            ],
        )
        if not ok:
            raise self._fenced()

    async def refuse(self, error: ParlandoError) -> None:
        """End the session, for `error` of its audio. Raises as `forward`."""
        said = {"code": error.code, "message": error.message, "retryable": error.retryable}
        await self.forward({"type": "end", "reason": error.code, "error": said}, None, ends=True)


class IntakeClaims(RoleClaims[IntakeClaim]):
    """An audio-processor's claims."""

    def __init__(
        self, redis: Redis, *, worker: str, partitions: int, ttl_s: int, lease_s: float = 3.0
    ) -> None:
        super().__init__(
            redis, CONVERSION, worker=worker, partitions=partitions, ttl_s=ttl_s, lease_s=lease_s
        )

    def _read(self, owned: SessionClaim, found: dict[str, bytes]) -> IntakeClaim:
        state = found.get("intake_state")
        start = int(found.get("input_start", 0))
        return IntakeClaim(
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

    def own(self, claim: IntakeClaim) -> OwnedIntake:
        """The fenced writer that comes with a claim."""
        return OwnedIntake(self.scripts, claim)

    async def _give_up(self, owned: SessionClaim) -> None:
        claim = IntakeClaim(owned.keys, owned.entry, owned.epoch, KEPT, 0, 0, None, True)
        message = "The audio can't be converted: the audio-processors failed on it"
        await self.own(claim).refuse(InvalidAudioError(message))
