"""Any endpoint that speaks OpenAI's transcription API: Groq, OpenAI, another Parlando.

Every request is billed for some seconds at least, so it gets finals only, and long ones where nobody waits
for them (`OMI_MODE=batch`).
"""

import io
import math
import wave
from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from openai import OpenAI, OpenAIError, omit

from parlando.domain.audio import SAMPLE_RATE, Float32
from parlando.domain.languages import CODES
from parlando.errors import EngineError
from transcriber.engines.base import EngineInfo, Hypothesis, Window, Word
from transcriber.engines.whisper_text import nothing, silent, words_of

AT_ONCE: Final = 8  # requests under way


class OpenAIEngine:
    """A client of `base_url`. `min_billed_s`: what the shortest request costs (Groq: 10 s)."""

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
        self.info = EngineInfo(
            name="openai",
            model=model,
            languages=frozenset(),
            tasks=frozenset({"transcribe", "translate"}),
            concurrent=True,
            max_window_s=30.0,
            batch=1,
            parallel=AT_ONCE,
            word_times=True,
            primes=False,
            metered=True,
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        return [self._hear(window) for window in windows]

    def _hear(self, window: Window) -> Hypothesis:
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
        self.info.bill.seconds += max(self._min_billed_s, len(window.samples) / SAMPLE_RATE)
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
    """A probability of a segment; 0 where the server gives none, as for one that is surely speech."""
    value = getattr(segment, name, None)
    return 0.0 if value is None else float(value)


def _hypothesis(answer: Any, window: Window) -> Hypothesis:
    named = (getattr(answer, "language", None) or window.language or "").lower()
    language = CODES.get(named, named.split("-")[0]) or None
    segments = getattr(answer, "segments", None) or []
    heard = [s for s in segments if not silent(_number(s, "no_speech_prob"), _number(s, "avg_logprob"))]
    text = answer.text.strip() if not segments else "".join(s.text for s in heard).strip()
    if not text:
        return nothing(language, "no_speech")
    confidence = None
    if heard and all(getattr(s, "avg_logprob", None) is not None for s in heard):
        confidence = round(math.exp(sum(s.avg_logprob for s in heard) / len(heard)), 4)
    spoken = getattr(answer, "words", None) or []
    if window.words and spoken:
        words = tuple(Word(w.word.strip(), float(w.start), float(w.end)) for w in spoken if w.word.strip())
    else:
        words = words_of(text, language)
    return Hypothesis(words, language, confidence, None if words else "no_speech")
