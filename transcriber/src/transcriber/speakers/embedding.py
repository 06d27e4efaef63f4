"""Voice embeddings: CAM++ in onnxruntime, centred by the mean of the audio's bandwidth.

Of a telephone's audio, the bands that it lacks are estimated from the others. What is in them depends on
codecs and resamplers, and would change the embeddings more than a voice does. The model, the means and the
estimation are described in `model/NOTICE.md`.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np
import onnxruntime as ort

from parlando.domain.audio import SAMPLE_RATE, Float32
from transcriber.speakers.features import filter_banks

DIMENSIONS: Final = 192
SHORTEST: Final = SAMPLE_RATE // 2  # samples; shorter clips are repeated
NARROW_DB: Final = -60.0
"""Power above 5 kHz, relative to 0.3 to 3.4 kHz, below which audio counts as a telephone's. Of 214 stretches
of wideband speech none has less than -50 dB; of 8 kHz recordings that FFmpeg resampled, nearly all have less
than -62 dB. (Up to 4.5 kHz, resamplers leave images of the band below 4 kHz.)"""
_NARROW: Final = slice(10, 56)  # filters within 0.3 to 3.6 kHz
_MODEL: Final = Path(__file__).parent / "model"


def unit(vectors: Float32) -> Float32:
    """The vectors, shape (…, d), scaled to length 1; zeros stay zeros."""
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), np.float32)


def is_narrow(pcm: Float32) -> bool:
    """Whether float32 samples at 16 kHz have the bandwidth of a telephone; False for no samples."""
    if not len(pcm):
        return False
    power = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)).astype(np.float32))) ** 2
    hertz = np.fft.rfftfreq(len(pcm), 1 / SAMPLE_RATE)
    voice = power[(hertz > 300) & (hertz < 3400)].sum() + 1e-12
    return bool(10 * np.log10((power[hertz > 5000].sum() + 1e-12) / voice) < NARROW_DB)


class VoiceModel:
    """The embedding model, in a single-threaded onnxruntime session. May be called from several threads."""

    def __init__(self) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = str(_MODEL / "campplus.onnx")
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        means = np.load(_MODEL / "means.npz")
        self._means: Float32 = np.stack([means["wide"], means["narrow"]])
        self._extension: Float32 = means["extension"]  # shape (filters of a telephone, all filters)

    def embed(self, clips: Sequence[Float32], *, narrow: bool | None = None) -> Float32:
        """Embed float32 clips at 16 kHz. `narrow`: see `is_narrow`; None to tell it by each clip itself.

        Returns unit vectors, shape (clips, 192). The cosine of two vectors is about 0.6 for one speaker and
        about 0 for two.
        """
        bands = [is_narrow(clip) if narrow is None else narrow for clip in clips]
        vectors = [self.raw(clip, narrow=band) for clip, band in zip(clips, bands, strict=True)]
        return self.centred(np.stack(vectors), narrow=bands)

    def centred(self, vectors: Float32, *, narrow: bool | Sequence[bool]) -> Float32:
        """The embeddings from `raw`, shape (n, 192), as `embed` returns them.

        `narrow`: of all, or of each. That of each is right also where one speaker is on the telephone.
        """
        return unit(unit(vectors) - self._means[np.asarray(narrow, np.int64)])

    def raw(self, clip: Float32, *, narrow: bool | None = None) -> Float32:
        """The model's output for a clip, shape (192,), neither centred nor of length 1.

        `narrow`: None to tell it by the clip itself.
        """
        if len(clip) < SHORTEST:
            clip = np.resize(clip, SHORTEST) if len(clip) else np.zeros(SHORTEST, np.float32)
        features = filter_banks(clip)
        if is_narrow(clip) if narrow is None else narrow:
            features = features[:, _NARROW] @ self._extension
        (vectors,) = self._session.run(None, {"fbank": features[None]})
        return np.asarray(vectors[0], np.float32)


@cache
def voice_model() -> VoiceModel:
    """The model of this process, loaded at the first call."""
    return VoiceModel()
