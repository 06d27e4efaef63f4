"""Voice activity detection: the probability of speech for each 32 ms of audio.

`load()` returns the model, shared by a process; `model.stream()` returns the detector of one session.
"""

from collections.abc import Callable
from typing import Any, Final, Protocol

import structlog

from parlando.domain.audio import Float32

FRAME: Final = 512  # samples per probability: 32 ms at 16 kHz

log = structlog.get_logger(part="vad")


class VadStream(Protocol):
    """The detector of one session. Its state can be saved and restored."""

    def push(self, samples: Float32) -> Float32:
        """Samples of shape (k * FRAME,) in [-1, 1) → speech probabilities of shape (k,)."""
        ...

    def state(self) -> dict[str, Any]:
        """The state that later probabilities depend on (JSON-serialisable)."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state()`."""
        ...


class VadModel(Protocol):
    """The weights, shared by all sessions of a process. `why`: the reason for using this model."""

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
    """The detector called `name`; `auto` is Silero, or RMS (with a warning) if Silero can't be loaded.

    Raises
    ------
    KeyError
        if there is no detector of this name.

    """
    if name != "auto":
        return MODELS[name]()
    try:
        return _silero()
    except Exception as error:  # a broken package or runtime must not stop live audio
        log.warning("vad.fallback", using="rms", error=str(error))
        from parlando.vad.rms import RmsModel

        return RmsModel(f"Silero can't be loaded: {error}")
