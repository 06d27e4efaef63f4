"""Voice activity detection: how likely each 32 ms of audio is speech.

`load()` gives the model for a process, the model gives one light stream per session.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog

from parlando.domain.audio import Float32

FRAME: Final = 512  # samples per probability: 32 ms at 16 kHz

log = structlog.get_logger(part="vad")


class VadStream(Protocol):
    """The detector of one session; its state can be saved and restored."""

    def push(self, samples: Float32) -> Float32:
        """Samples of shape (k * FRAME,) in [-1, 1) → speech probabilities of shape (k,)."""
        ...

    def state(self) -> dict[str, Any]:
        """Everything that the next probabilities depend on (JSON-able)."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from a `state()`."""
        ...


class VadModel(Protocol):
    """The weights, shared by all sessions of a process."""

    name: str
    why: str

    def stream(self) -> VadStream:
        """A detector for one session."""
        ...


def _silero() -> VadModel:
    from parlando.vad.silero import SileroModel

    return SileroModel()


def _rms() -> VadModel:
    from parlando.vad.rms import RmsModel

    return RmsModel("chosen by VAD=rms")


MODELS: Final[dict[str, Callable[[], VadModel]]] = {"silero": _silero, "rms": _rms}
"""Name → loader."""


def load(name: str = "auto") -> VadModel:
    """The detector by `name`; `auto` is Silero, or RMS (said in the log) if Silero can't be loaded.

    Raises
    ------
    KeyError
        if there's no detector of that name.

    """
    if name != "auto":
        return MODELS[name]()
    try:
        return _silero()
    except Exception as error:  # whatever is wrong with the package or the runtime, live audio goes on
        log.warning("vad.fallback", using="rms", error=str(error))
        from parlando.vad.rms import RmsModel

        return RmsModel(f"Silero can't be loaded: {error}")
