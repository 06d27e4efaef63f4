"""A client of any endpoint with OpenAI's transcription API: Groq, OpenAI, another Parlando.

Every request is billed for a minimum number of seconds. So only finals are sent, and long ones where
latency doesn't matter (`OMI_MODE=batch`).
"""

import io
import math
import threading
import wave
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from openai import OpenAI, OpenAIError, omit

from parlando.domain.audio import SAMPLE_RATE, Float32
from parlando.domain.languages import CODES
from parlando.errors import EngineError
from transcriber.engines.base import Engine, EngineInfo, Hypothesis, Window, Word
from transcriber.engines.whisper_text import empty_hypothesis, is_silent, words_of

PARALLEL: Final = 8  # requests at the same time


class OpenAIEngine(Engine):
    """A client of `base_url`. `min_billed_s`: seconds billed for the shortest request (Groq: 10 s)."""

    def __init__(
        self,
        base_url: str,
        api_key: str,
        model: str,
        *,
        timeout_s: float = 60.0,
        retries: int = 4,
        min_billed_s: float = 10.0,
    ) -> None:
        if not api_key:
            raise EngineError("Engine openai needs a key: set GROQ_API_KEY or OPENAI_API_KEY")
        self._client = OpenAI(base_url=base_url, api_key=api_key, timeout=timeout_s, max_retries=retries)
        self._model = model
        self._min_billed_s = min_billed_s
        self._billing = threading.Lock()  # several threads transcribe
        self.info = EngineInfo(
            name="openai",
            model=model,
            languages=frozenset(),
            tasks=frozenset({"transcribe", "translate"}),
            concurrent=True,
            max_window_s=30.0,
            batch=1,
            parallel=PARALLEL,
            word_times=True,
            primes=False,
            metered=True,
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        return [self._transcribe(window) for window in windows]

    def _transcribe(self, window: Window) -> Hypothesis:
        language = window.language.split("-")[0] if window.language else omit
        common: dict[str, Any] = {
            "file": ("audio.wav", _wav(window.samples), "audio/wav"),
            "model": self._model,
            "response_format": "verbose_json",
            "prompt": window.prompt or omit,
            "temperature": 0.0,
        }
        try:
            if window.task == "translate":
                answer: Any = self._client.audio.translations.create(**common)
            else:
                answer = self._client.audio.transcriptions.create(
                    **common,
                    language=language,
                    timestamp_granularities=["word", "segment"] if window.words else ["segment"],
                )
        except OpenAIError as error:
            raise EngineError(f"{self._client.base_url.host} can't transcribe: {error}") from error
        with self._billing:
            self.billed_s += max(self._min_billed_s, len(window.samples) / SAMPLE_RATE)
        return _hypothesis(answer, window)


def _wav(samples: Float32) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(samples, -1, 32767 / 32768) * 32768).round().astype("<i2").tobytes())
    return out.getvalue()


def _number(segment: Any, name: str) -> float:
    """A (log-)probability of a segment; 0, which counts as speech, where the server sends none."""
    value = getattr(segment, name, None)
    return 0.0 if value is None else float(value)


def _hypothesis(answer: Any, window: Window) -> Hypothesis:
    named = (getattr(answer, "language", None) or window.language or "").lower()
    language = CODES.get(named, named.split("-")[0]) or None
    segments = getattr(answer, "segments", None) or []
    voiced = [s for s in segments if not is_silent(_number(s, "no_speech_prob"), _number(s, "avg_logprob"))]
    text = answer.text.strip() if not segments else "".join(s.text for s in voiced).strip()
    if not text:
        return empty_hypothesis(language, "no_speech")
    confidence = None
    if voiced and all(getattr(s, "avg_logprob", None) is not None for s in voiced):
        confidence = round(math.exp(sum(s.avg_logprob for s in voiced) / len(voiced)), 4)
    timed = getattr(answer, "words", None) or []
    if window.words and timed:
        words = tuple(Word(w.word.strip(), float(w.start), float(w.end)) for w in timed if w.word.strip())
    else:
        words = words_of(text, language)
    return Hypothesis(words, language, confidence, None if words else "no_speech")
