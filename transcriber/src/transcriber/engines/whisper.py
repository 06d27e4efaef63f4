"""OpenAI Whisper on torch: the reference engine; CPU, CUDA or MPS.

Windows are encoded together; those with the same options are decoded together. A final is decoded
again at higher temperatures while it isn't believable, as in openai-whisper's `transcribe`.
"""

import math
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
import whisper
from whisper.audio import N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
from whisper.timing import find_alignment, merge_punctuations
from whisper.tokenizer import get_tokenizer

from parlando.audio import SAMPLE_RATE
from parlando.errors import EngineError, ModelError
from transcriber.engines.base import EngineInfo, Hypothesis, Window, Word
from transcriber.engines.spelling import TEMPERATURES, believable, nothing, silent, words_of
from transcriber.guards import MOST_COMPRESSION, compression

BATCH: Final = {"cuda": 16, "mps": 8, "cpu": 1}  # windows worth decoding at once
LEADING: Final = "\"'“¿([{-"
TRAILING: Final = "\"'.。,，!！?？:：”)]}、"


def choose_device(wish: str) -> str:
    """`auto` is the fastest that there is."""
    if wish != "auto":
        return wish
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


class WhisperEngine:
    """A Whisper checkpoint by size or path."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        self._device = choose_device(device)
        if self._device == "cpu":
            torch.set_num_threads(1)  # a machine runs one worker per core
        try:
            self._model = whisper.load_model(model, device=self._device)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"Whisper model {model!r} can't be loaded: {error}. Give a path to a checkpoint, a size "
                f"({', '.join(whisper.available_models())}), or put the file into ~/.cache/whisper"
            ) from error
        multilingual = bool(self._model.is_multilingual)
        languages = whisper.tokenizer.LANGUAGES if multilingual else {"en": "english"}
        self.info = EngineInfo(
            name="whisper",
            model=Path(model).stem,
            languages=frozenset(languages),
            tasks=frozenset({"transcribe", "translate"} if multilingual else {"transcribe"}),
            max_window_s=N_SAMPLES / SAMPLE_RATE,
            batch=BATCH[self._device],
            word_times=True,
            primes=False,
            details={"device": self._device},
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        try:
            with torch.inference_mode():
                return self._transcribe(windows)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"whisper failed on a window: {error}") from error

    def _transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        mels = torch.stack([self._mel(window) for window in windows]).to(self._device)
        features = self._model.embed_audio(mels.half() if self._device == "cuda" else mels)
        languages = [
            self._language(window, features[number : number + 1]) for number, window in enumerate(windows)
        ]
        alike: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for number, window in enumerate(windows):
            alike[languages[number], window.task, window.prompt].append(number)
        answers: dict[int, Hypothesis] = {}
        for (language, task, prompt), numbers in alike.items():
            options = {"language": language, "task": task, "prompt": prompt or None}
            results = self._decode(features[numbers], options, temperature=0.0)
            for number, result in zip(numbers, results, strict=True):
                window, feature = windows[number], features[number : number + 1]
                if window.final:
                    result = self._again(feature, options, result)
                answers[number] = self._hypothesis(window, mels[number], result, language)
        return [answers[number] for number in range(len(windows))]

    def _mel(self, window: Window) -> torch.Tensor:
        """Log-mel of shape (n_mels, 3000): 30 s, padded with silence."""
        samples = pad_or_trim(torch.from_numpy(window.samples.copy()), N_SAMPLES)
        mel: torch.Tensor = pad_or_trim(log_mel_spectrogram(samples, self._model.dims.n_mels), N_FRAMES)
        return mel

    def _language(self, window: Window, feature: torch.Tensor) -> str:
        if not self._model.is_multilingual:
            return "en"
        if window.language:
            return window.language.split("-")[0]
        _, probabilities = self._model.detect_language(feature)
        return str(max(probabilities[0], key=probabilities[0].get))

    def _decode(self, features: torch.Tensor, options: dict[str, Any], *, temperature: float) -> list[Any]:
        chosen = whisper.DecodingOptions(**options, temperature=temperature, fp16=self._device == "cuda")
        results: list[Any] = whisper.decode(self._model, features, chosen)
        return results

    def _again(self, feature: torch.Tensor, options: dict[str, Any], result: Any) -> Any:
        for temperature in TEMPERATURES[1:]:
            if believable(result.text, result.avg_logprob) or silent(
                result.no_speech_prob, result.avg_logprob
            ):
                break
            [result] = self._decode(feature, options, temperature=temperature)
        return result

    def _hypothesis(self, window: Window, mel: torch.Tensor, result: Any, language: str) -> Hypothesis:
        if silent(result.no_speech_prob, result.avg_logprob):
            return nothing(language, "no_speech")
        if window.final and compression(result.text) > MOST_COMPRESSION:
            return nothing(language, "suppressed")
        words = words_of(result.text, language)
        if window.words and words:
            words = self._timed(window, mel, result, language)
        confidence = round(math.exp(result.avg_logprob), 4)
        return Hypothesis(words, language, confidence, None if words else "no_speech")

    def _timed(self, window: Window, mel: torch.Tensor, result: Any, language: str) -> tuple[Word, ...]:
        tokenizer = get_tokenizer(
            self._model.is_multilingual,
            num_languages=self._model.num_languages,
            language=language,
            task=window.task,
        )
        tokens = [token for token in result.tokens if token < tokenizer.eot]
        frames = min(N_FRAMES, len(window.samples) // whisper.audio.HOP_LENGTH)
        alignment = find_alignment(self._model, tokenizer, tokens, mel, frames)
        merge_punctuations(alignment, LEADING, TRAILING)
        return tuple(
            Word(timing.word.strip(), float(timing.start), float(timing.end), float(timing.probability))
            for timing in alignment
            if timing.word.strip()
        )
