"""Silero VAD v6: its ONNX file, run by onnxruntime. The package is not imported, because it imports torch.

Source: https://github.com/snakers4/silero-vad, file `silero_vad_16k_sequence.onnx`. Input: rows of 64 context
samples and 512 samples. Output: one probability per row. The LSTM state is carried between calls.
"""

import base64
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort

from parlando.domain.audio import Float32
from parlando.errors import ModelError
from parlando.models.catalogue import SILERO_VAD
from parlando.models.store import ModelStore
from parlando.vad import FRAME

FILE: Final = "silero_vad_16k_sequence.onnx"
CONTEXT: Final = 64  # samples of the previous frame at the beginning of each row
STATE: Final = (1, 1, 128)


def _weights() -> tuple[Path, str]:
    """The ONNX file, and where it is: in the installed package, else in the model store."""
    spec = find_spec("silero_vad")
    if spec is not None and spec.submodule_search_locations:
        path = Path(spec.submodule_search_locations[0]) / "data" / FILE
        if not path.exists():
            raise ModelError(f"The installed silero-vad has no {FILE}; install version 6 or newer")
        return path, "silero-vad is installed"
    store = ModelStore()
    if store.has(SILERO_VAD):
        return store.path(SILERO_VAD) / FILE, "silero-vad is in the model store"
    raise ModelError(
        "silero-vad isn't installed: pip install --no-deps silero-vad, or parlando models pull silero-vad"
    )


class SileroModel:
    """The weights, in a single-threaded onnxruntime session."""

    name = "silero"

    def __init__(self) -> None:
        path, self.why = _weights()
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def stream(self) -> "SileroStream":
        """A detector for one session."""
        return SileroStream(self._session)


class SileroStream:
    """The detector of one session: its LSTM state and context."""

    def __init__(self, session: ort.InferenceSession) -> None:
        self._session = session
        self._h: Float32 = np.zeros(STATE, np.float32)
        self._c: Float32 = np.zeros(STATE, np.float32)
        self._context: Float32 = np.zeros(CONTEXT, np.float32)

    def push(self, samples: Float32) -> Float32:
        """Samples of shape (k * 512,) → probabilities of shape (k,)."""
        frames = samples.reshape(-1, FRAME)
        rows = np.empty((len(frames), CONTEXT + FRAME), np.float32)
        rows[:, CONTEXT:] = frames
        rows[0, :CONTEXT] = self._context
        rows[1:, :CONTEXT] = frames[:-1, -CONTEXT:]
        self._context = frames[-1, -CONTEXT:].copy()
        probabilities: Float32
        probabilities, self._h, self._c = self._session.run(None, {"input": rows, "h": self._h, "c": self._c})
        return probabilities

    def state(self) -> dict[str, Any]:
        """The LSTM state and the context, as base64 of float32."""
        return {
            name: base64.b64encode(array.tobytes()).decode()
            for name, array in (("h", self._h), ("c", self._c), ("context", self._context))
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the result of `state()`."""

        def array(name: str) -> Float32:
            return np.frombuffer(base64.b64decode(state[name]), np.float32)

        self._h, self._c = array("h").reshape(STATE), array("c").reshape(STATE)
        self._context = array("context")
