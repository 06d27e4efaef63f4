"""Log mel filter banks as Kaldi computes them: the input of the embedding model.

Source: Kaldi, `feature-fbank.cc` and `mel-computations.cc`, with its defaults: frames of 25 ms every 10 ms
without padding, pre-emphasis 0.97, Povey window, power spectrum; here with 80 bins and without dither.
"""

from typing import Final

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Float32

BINS: Final = 80
LENGTH: Final = 400  # samples of a frame
STEP: Final = 160  # samples between two frames
_FFT: Final = 512
_LOWEST_HZ: Final = 20.0
_EMPHASIS: Final = 0.97
_SCALE: Final = 32768.0  # Kaldi's samples are int16
_FLOOR: Final = np.float32(np.finfo(np.float32).eps)


def _mel(hertz: Float32) -> Float32:
    return np.asarray(1127.0 * np.log1p(hertz / 700.0), np.float32)


def _triangles() -> Float32:
    """The filters, shape (bins, fft / 2 + 1): triangles on the mel scale. The Nyquist frequency weighs 0."""
    lowest, highest = _mel(np.array([_LOWEST_HZ, SAMPLE_RATE / 2], np.float32))
    edges = np.linspace(lowest, highest, BINS + 2)
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    places = _mel(np.arange(_FFT // 2).astype(np.float32) * np.float32(SAMPLE_RATE / _FFT))
    rising, falling = (places - low) / (centre - low), (high - places) / (high - centre)
    weights = np.clip(np.minimum(rising, falling), 0.0, None)
    return np.pad(weights, ((0, 0), (0, 1))).astype(np.float32)


_FILTERS: Final = _triangles()
_WINDOW: Final = (np.hanning(LENGTH) ** 0.85).astype(np.float32)


def filter_banks(pcm: Float32) -> Float32:
    """Log energies of float32 samples of shape (n,), 16 kHz, in [-1, 1).

    Returns float32 of shape (frames, 80), where frames = 1 + (n - 400) // 160; a shorter clip is padded to
    one frame. The mean over time is subtracted.
    """
    if len(pcm) < LENGTH:
        pcm = np.pad(pcm, (0, LENGTH - len(pcm)))
    frames = np.lib.stride_tricks.sliding_window_view(pcm * np.float32(_SCALE), LENGTH)[::STEP]
    frames = frames - frames.mean(axis=1, keepdims=True)
    before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
    spectrum = np.fft.rfft((frames - _EMPHASIS * before) * _WINDOW, _FFT, axis=1)
    power = (spectrum.real**2 + spectrum.imag**2).astype(np.float32)
    energies = np.log(np.maximum(power @ _FILTERS.T, _FLOOR))
    return np.asarray(energies - energies.mean(axis=0, keepdims=True), np.float32)
