"""The voices of one chunk of a recording, as they are stored until the whole recording is clustered. Pure."""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import orjson

from parlando.domain.audio import Float32
from transcriber.speakers.embedding import DIMENSIONS, unit
from transcriber.speakers.windows import Span

_END: Final = b"\n"  # of the JSON


@dataclass(frozen=True, slots=True)
class Voices:
    """Windows in the order of the audio, with their unit embeddings, shape (windows, 192).

    `groups`: the number of the stretch of speech of each, in the chunk. `changes`: see `windows.changes`.
    `narrow`: whether the chunk is a telephone's; told in enrolments only.
    """

    windows: list[Span]
    groups: list[int]
    changes: list[float]
    vectors: Float32
    narrow: bool = False

    def pack(self) -> bytes:
        """Encode: 192 bytes for each vector, and some 30 for its window."""
        rows = [
            [round(w.start, 3), round(w.end, 3), round(w.seconds, 3), group, round(change, 3)]
            for w, group, change in zip(self.windows, self.groups, self.changes, strict=True)
        ]
        return orjson.dumps({"windows": rows, "narrow": self.narrow}) + _END + quantised(self.vectors)

    @classmethod
    def unpack(cls, packed: bytes) -> "Voices":
        """Decode; none for b""."""
        head, _, rest = packed.partition(_END)
        found: dict[str, Any] = orjson.loads(head) if head else {"windows": [], "narrow": False}
        rows = found["windows"]
        return cls(
            [Span(start, end, seconds) for start, end, seconds, _, _ in rows],
            [group for _, _, _, group, _ in rows],
            [change for *_, change in rows],
            restored(rest),
            found["narrow"],
        )


def quantised(vectors: Float32) -> bytes:
    """Unit vectors, shape (n, 192), as int8, each scaled to its largest value."""
    if not len(vectors):
        return b""
    scale = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1e-9)
    return bytes(np.rint(vectors / scale * 127).astype(np.int8).tobytes())


def restored(packed: bytes) -> Float32:
    """The unit vectors from `quantised`, shape (n, 192)."""
    return unit(np.frombuffer(packed, np.int8).reshape(-1, DIMENSIONS).astype(np.float32))
