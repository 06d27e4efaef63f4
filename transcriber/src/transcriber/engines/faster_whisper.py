"""Whisper on CTranslate2: several times faster than torch, int8 on the CPU, no torch needed.

Partials are encoded in a shorter context than the 30 s of finals, and decoded again in the full one if the
result isn't plausible (see `whisper.py`).
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from parlando.domain.audio import SAMPLE_RATE
from parlando.errors import EngineError, ModelError
from transcriber.engines.base import Engine, EngineInfo, Hypothesis, Window, Word
from transcriber.engines.guards import MAX_COMPRESSION
from transcriber.engines.whisper_text import (
    TEMPERATURES,
    context_s,
    empty_hypothesis,
    is_plausible,
    is_silent,
    words_of,
)


class FasterWhisperEngine(Engine):
    """A converted Whisper model, by size or folder."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        try:
            self._model = WhisperModel(
                model, device="cpu" if device == "mps" else device, compute_type="auto", cpu_threads=1
            )
        except Exception as error:  # the hub client and CTranslate2 raise many types
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
            return [self._partial(window) or self._transcribe(window) for window in windows]
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"faster-whisper failed on a window: {error}") from error

    def _partial(self, window: Window) -> Hypothesis | None:
        """Decode a partial greedily in a short context; None if the window needs the full context."""
        seconds = context_s(window)
        if seconds is None:
            return None
        padded = np.zeros(seconds * SAMPLE_RATE, np.float32)
        padded[: len(window.samples)] = window.samples
        mel = self._model.feature_extractor(padded, padding=0)
        states = self._model.encode(mel[:, : seconds * self._model.frames_per_second])
        multilingual = bool(self._model.model.is_multilingual)
        language = "en"
        if multilingual:
            language = (window.language or "").split("-")[0] or self._language(states)
        tokenizer = Tokenizer(self._model.hf_tokenizer, multilingual, window.task, language)
        previous = tokenizer.encode(" " + window.prompt.strip()) if window.prompt else []
        prompt = self._model.get_prompt(tokenizer, previous, without_timestamps=True)
        [result] = self._model.model.generate(
            states,
            [prompt],
            beam_size=1,
            max_length=self._model.max_length,
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=[-1],
        )
        tokens = result.sequences_ids[0]
        text = tokenizer.decode(tokens).strip()
        logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)
        if is_silent(result.no_speech_prob, logprob):
            return empty_hypothesis(language, "no_speech")
        if not is_plausible(text, logprob):
            return None
        words = words_of(text, language)
        return Hypothesis(words, language, round(math.exp(logprob), 4), None if words else "no_speech")

    def _language(self, states: Any) -> str:
        [chances] = self._model.model.detect_language(states)
        return str(chances[0][0]).strip("<|>")

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
            return empty_hypothesis(info.language, "no_speech")
        logprob = sum(s.avg_logprob for s in segments) / len(segments)
        if is_silent(max(s.no_speech_prob for s in segments), logprob):
            return empty_hypothesis(info.language, "no_speech")
        if window.final and max(s.compression_ratio for s in segments) > MAX_COMPRESSION:
            return empty_hypothesis(info.language, "suppressed")
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
