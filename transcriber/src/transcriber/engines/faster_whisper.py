"""Whisper on CTranslate2: several times faster than torch, int8 on the CPU, no torch needed."""

import math
from collections.abc import Sequence
from pathlib import Path

from faster_whisper import WhisperModel

from parlando.audio import SAMPLE_RATE
from parlando.errors import EngineError, ModelError
from transcriber.engines.base import EngineInfo, Hypothesis, Window, Word
from transcriber.engines.spelling import TEMPERATURES, nothing, silent, words_of
from transcriber.guards import MOST_COMPRESSION


class FasterWhisperEngine:
    """A converted Whisper model by size or folder."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        try:
            self._model = WhisperModel(
                model, device="cpu" if device == "mps" else device, compute_type="auto", cpu_threads=1
            )
        except Exception as error:  # the hub client and CTranslate2 raise many kinds
            raise ModelError(
                f"faster-whisper model {model!r} can't be loaded: {error}. Give a converted model's folder, "
                "or a size that can be downloaded"
            ) from error
        multilingual = bool(self._model.model.is_multilingual)
        self.info = EngineInfo(
            name="faster-whisper",
            model=Path(model).name,
            languages=frozenset(self._model.supported_languages),
            tasks=frozenset({"transcribe", "translate"} if multilingual else {"transcribe"}),
            concurrent=True,
            max_window_s=30.0,
            batch=1,
            word_times=True,
            primes=False,
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        try:
            return [self._transcribe(window) for window in windows]
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"faster-whisper failed on a window: {error}") from error

    def _transcribe(self, window: Window) -> Hypothesis:
        found, info = self._model.transcribe(
            window.samples,
            language=window.language.split("-")[0] if window.language else None,
            task=window.task,
            initial_prompt=window.prompt or None,
            beam_size=5 if window.final else 1,
            temperature=TEMPERATURES if window.final else 0.0,
            word_timestamps=window.words,
            condition_on_previous_text=False,
        )
        seconds = len(window.samples) / SAMPLE_RATE
        segments = [segment for segment in found if segment.start < seconds]  # the rest is padding
        if not segments:
            return nothing(info.language, "no_speech")
        logprob = sum(s.avg_logprob for s in segments) / len(segments)
        if silent(max(s.no_speech_prob for s in segments), logprob):
            return nothing(info.language, "no_speech")
        if window.final and max(s.compression_ratio for s in segments) > MOST_COMPRESSION:
            return nothing(info.language, "suppressed")
        if window.words:
            words = tuple(
                Word(word.word.strip(), float(word.start), float(word.end), float(word.probability))
                for segment in segments
                for word in segment.words or ()
                if word.word.strip()
            )
        else:
            words = words_of(" ".join(segment.text.strip() for segment in segments), info.language)
        return Hypothesis(words, info.language, round(math.exp(logprob), 4), None if words else "no_speech")
