"""Whole clips, recognised without haste: what live sessions are compared with."""

from collections.abc import Iterable
from pathlib import Path

from faster_whisper import WhisperModel

from bench.streams import RATE
from parlando.domain.audio import to_float
from support.speech import Clip, load
from transcriber.engines.base import Window
from transcriber.engines.registry import load as load_engine
from transcriber.settings import TranscriberSettings

BEAM = 5


def whisper(model: Path, clips: Iterable[Clip], *, language: str = "en") -> dict[str, str]:
    """The text of each clip, by its name: faster-whisper as its package offers it.

    The context is 30 s, the beam 5 wide, and all else as the package has it. `model`: a CTranslate2 folder.
    """
    recogniser = WhisperModel(str(model), device="cpu", compute_type="auto")
    texts = {}
    for clip in {clip.name: clip for clip in clips}.values():
        segments, _ = recogniser.transcribe(to_float(load(clip.path)), language=language, beam_size=BEAM)
        texts[clip.name] = " ".join(segment.text.strip() for segment in segments)
    return texts


def moonshine(clips: Iterable[Clip]) -> dict[str, str]:
    """The text of each clip, by its name: the engine, greedy, as for the finals of live sessions."""
    engine, _ = load_engine(TranscriberSettings(stt_engine="moonshine"))
    texts = {}
    for clip in {clip.name: clip for clip in clips}.values():
        samples = to_float(load(clip.path))
        window = Window(samples, final=True, voiced_s=len(samples) / RATE)
        texts[clip.name] = engine.transcribe([window])[0].text
    return texts
