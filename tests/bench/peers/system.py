"""What the measurement needs to know of a server: how it is started, and its protocol."""

import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

ROOT = Path(__file__).parents[3]
ENVIRONMENTS = ROOT / ".venv-peers"


class Dialect(ABC):
    """The protocol of a server, as one session's client speaks it.

    `path`: of the WebSocket's URL. `greeting`: the first message, if the client sends one. `ending`: the
    message behind the last frame. `text`: all text that the server has shown. `ready`: whether audio may be
    sent. `closed`: whether the server has said that no more text comes. `refused`: its reason, if it won't
    serve. `linger_s`: seconds without new text after which the client sends `ending`, as the server's own
    client does; 0 to send it at once.
    """

    path: ClassVar[str]
    linger_s: ClassVar[float] = 0.0
    ending: ClassVar[str | bytes]
    greeting: str | None = None

    def __init__(self) -> None:
        self.text = ""
        self.ready = True
        self.closed = False
        self.refused = ""

    @abstractmethod
    def take(self, message: dict[str, Any]) -> None:
        """Apply a message of the server."""

    def frame(self, pcm: np.ndarray) -> bytes:
        """The message of some int16 samples: by default 16-bit little-endian."""
        return pcm.astype("<i2").tobytes()


@dataclass(frozen=True)
class System:
    """One server in one configuration.

    `distribution`: the installed package whose version is reported. `flags`: how it is started, for the
    reader. `command`: these names in braces are replaced: `port`, `second_port`, `model` (a CTranslate2
    folder), `checkpoint` (the same for openai-whisper), `heads` (its alignment heads), `warmup` (a
    recording), `python`. `python`: the interpreter of its environment. `environment`: variables besides those
    that every server gets, replaced likewise. `ready_path`: answers 200 once sessions can begin; empty if the
    server listens no sooner.
    """

    name: str
    distribution: str
    flags: str
    dialect: type[Dialect]
    command: tuple[str, ...]
    python: Path = Path(sys.executable)
    environment: Mapping[str, str] = field(default_factory=dict)
    ready_path: str = ""

    @property
    def version(self) -> str:
        """The version of the installed package."""
        code = f"from importlib.metadata import version; print(version({self.distribution!r}))"
        done = subprocess.run([self.python, "-c", code], check=True, capture_output=True, text=True)
        return done.stdout.strip()
