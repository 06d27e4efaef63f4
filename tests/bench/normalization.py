"""The effect of `normalize`: word errors of whole clips with and without it: python -m bench.normalization

The figures are in docs/decisions/0005. Needs the larger collection of recordings beside the checkout.
"""

import subprocess
from dataclasses import replace

import jiwer
import numpy as np
from whisper.normalizers import EnglishTextNormalizer

from audio_processor import command
from audio_processor.ffmpeg import probe
from audio_processor.layout import PcmLayout
from parlando.domain.audio import to_float
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from support.speech import clips, load
from transcriber.engines.base import Window
from transcriber.engines.moonshine import MoonshineEngine

CATEGORIES = ("a_english_read", "d_8khz", "d_noisy", "b_long")
WINDOW = 28 * 16_000


def filtered(pcm: np.ndarray, *, normalize: bool) -> np.ndarray:
    """int16 samples as converted by the audio-processor."""
    ffmpeg = probe()
    assert ffmpeg is not None
    line = command.decode(ffmpeg.path, PcmLayout("s16le", 16_000, 1), normalize=normalize)
    return np.frombuffer(
        subprocess.run(line, input=pcm.tobytes(), capture_output=True, check=True).stdout, "<i2"
    )


def main() -> None:
    """Print a table."""
    engine = MoonshineEngine(ModelStore().path(MOONSHINE_TINY))
    normal = EnglishTextNormalizer()
    print(f"{'category':16} {'clips':>5} {'as it is':>9} {'normalized':>11}")
    for category in CATEGORIES:
        spoken = [clip for clip in clips(category, language="en") if clip.text]
        rates = []
        for normalize in (False, True):
            heard = []
            for clip in spoken:
                samples = to_float(filtered(load(clip.path), normalize=normalize))
                parts = [Window(samples[at : at + WINDOW]) for at in range(0, len(samples), WINDOW)]
                heard.append(" ".join(engine.transcribe([replace(p, final=True)])[0].text for p in parts))
            rates.append(100 * jiwer.wer([normal(c.text) for c in spoken], [normal(text) for text in heard]))
        print(f"{category:16} {len(spoken):5} {rates[0]:8.2f} % {rates[1]:9.2f} %", flush=True)


if __name__ == "__main__":
    main()
