"""OpenAI Whisper on torch: the reference engine; CPU, CUDA or MPS.

Windows are encoded together; those with the same options are decoded together. A final is decoded
again at higher temperatures while it isn't plausible, as in openai-whisper's `transcribe`.

Whisper pads every window to 30 s. On the CPU that padding makes the encoder most of a partial's cost, so
partials are encoded in fewer positions there. Finals always have all positions: the weights were trained
on 30 s, and are most accurate with them.
"""

import math
import zipfile
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import torch
import whisper
from torch.nn.functional import gelu
from whisper.audio import FRAMES_PER_SECOND, N_FRAMES, N_SAMPLES, log_mel_spectrogram, pad_or_trim
from whisper.decoding import DecodingTask
from whisper.timing import find_alignment, merge_punctuations
from whisper.tokenizer import get_tokenizer

from parlando.domain.audio import SAMPLE_RATE
from parlando.domain.word_spans import with_lengths
from parlando.errors import EngineError, ModelError
from parlando.models.openai_checkpoint import ALIGNMENT_HEADS
from transcriber.engines.base import Engine, EngineInfo, Hypothesis, Window, Word
from transcriber.engines.guards import MAX_COMPRESSION, compression
from transcriber.engines.whisper_attempts import TEMPERATURES
from transcriber.engines.whisper_text import (
    context_s,
    empty_hypothesis,
    is_plausible,
    is_silent,
    plausibility,
    words_of,
)
from transcriber.engines.whisper_words import word_delay_s

BATCH: Final = {"cuda": 16, "mps": 8, "cpu": 1}  # windows decoded in one call
LEADING: Final = "\"'“¿([{-"
TRAILING: Final = "\"'.。,，!！?？:：”)]}、"


def choose_device(requested: str) -> str:
    """The device to run on: `requested`, or the fastest one present for "auto"."""
    if requested != "auto":
        return requested
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _set_alignment_heads(model: whisper.Whisper, name: str) -> None:
    """Set the heads that a converted checkpoint names; openai-whisper knows those of its own sizes only."""
    if not zipfile.is_zipfile(name):
        return
    heads = torch.load(name, mmap=True, weights_only=True).get(ALIGNMENT_HEADS)
    if heads:
        mask = torch.zeros_like(model.alignment_heads.to_dense())
        mask[tuple(torch.tensor(heads).T)] = True
        model.register_buffer("alignment_heads", mask.to_sparse(), persistent=False)


class _Decoding(DecodingTask):  # type: ignore[misc]
    """Decodes audio that is already encoded, in any number of positions."""

    def _get_audio_features(self, mel: torch.Tensor) -> torch.Tensor:
        return mel


class WhisperEngine(Engine):
    """A Whisper checkpoint by size or path."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        self._device = choose_device(device)
        if self._device == "cpu":
            torch.set_num_threads(1)  # a machine runs one worker per core
        try:
            self._model = whisper.load_model(model, device=self._device)
            _set_alignment_heads(self._model, model)
        except (OSError, RuntimeError) as error:
            raise ModelError(
                f"Whisper model {model!r} can't be loaded: {error}. Give a path to a checkpoint, a size "
                f"({', '.join(whisper.available_models())}), or put the file into ~/.cache/whisper"
            ) from error
        multilingual = bool(self._model.is_multilingual)
        languages = list(whisper.tokenizer.LANGUAGES)[: self._model.num_languages] if multilingual else ["en"]
        self.info = EngineInfo(
            name="whisper",
            model=Path(model).name.removesuffix(".pt"),
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
        """Decode each window in a context that fits it; again in the full one if that isn't plausible."""
        contexts: dict[int, list[int]] = defaultdict(list)
        for number, window in enumerate(windows):
            contexts[self._context(window)].append(number)
        answers: dict[int, Hypothesis] = {}
        for frames, numbers in contexts.items():
            hypotheses = self._decode_windows([windows[number] for number in numbers], frames)
            for number, hypothesis in zip(numbers, hypotheses, strict=True):
                if hypothesis is None:
                    [hypothesis] = self._decode_windows([windows[number]], N_FRAMES)
                assert hypothesis is not None
                answers[number] = hypothesis
        return [answers[number] for number in range(len(windows))]

    def _context(self, window: Window) -> int:
        """The number of log-mel frames, of 10 ms each, in which a window is encoded."""
        seconds = context_s(window) if self._device == "cpu" else None
        return int(N_FRAMES if seconds is None else seconds * FRAMES_PER_SECOND)

    def _decode_windows(self, windows: Sequence[Window], frames: int) -> list[Hypothesis | None]:
        """Decode windows in a context of `frames`; None for one that isn't plausible in a short context."""
        mels = torch.stack([self._mel(window) for window in windows]).to(self._device)
        features = self._encode((mels.half() if self._device == "cuda" else mels)[..., :frames])
        alike: dict[tuple[str, str, str], list[int]] = defaultdict(list)
        for number, window in enumerate(windows):
            language = self._language(window, features[number : number + 1])
            alike[language, window.task, window.prompt].append(number)
        answers: list[Hypothesis | None] = [None] * len(windows)
        for (language, task, prompt), numbers in alike.items():
            options = {"language": language, "task": task, "prompt": prompt or None}
            results = self._decode(features[numbers], options, temperature=0.0)
            for number, result in zip(numbers, results, strict=True):
                window, feature = windows[number], features[number : number + 1]
                if window.final and window.redecode:
                    result = self._at_higher_temperatures(feature, options, result)
                settled = is_silent(result.no_speech_prob, result.avg_logprob)
                if frames == N_FRAMES or settled or is_plausible(result.text, result.avg_logprob):
                    answers[number] = self._hypothesis(window, mels[number], result, language)
        return answers

    def _encode(self, mels: torch.Tensor) -> torch.Tensor:
        """The encoder's states, (n, frames / 2, width), for log-mels (n, n_mels, frames) of any length."""
        encoder = self._model.encoder
        states = gelu(encoder.conv2(gelu(encoder.conv1(mels)))).permute(0, 2, 1)
        states = (states + encoder.positional_embedding[: states.shape[1]]).to(states.dtype)
        for block in encoder.blocks:
            states = block(states)
        encoded: torch.Tensor = encoder.ln_post(states)
        return encoded

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
        tokenizer = get_tokenizer(True, num_languages=self._model.num_languages)
        beginning = torch.tensor([[tokenizer.sot]], device=feature.device)
        chances = self._model.logits(beginning, feature)[0, 0, list(tokenizer.all_language_tokens)]
        return str(tokenizer.all_language_codes[int(chances.argmax())])

    def _decode(self, features: torch.Tensor, options: dict[str, Any], *, temperature: float) -> list[Any]:
        chosen = whisper.DecodingOptions(**options, temperature=temperature, fp16=self._device == "cuda")
        results: list[Any] = _Decoding(self._model, chosen).run(features)
        return results

    def _at_higher_temperatures(self, feature: torch.Tensor, options: dict[str, Any], result: Any) -> Any:
        """`result`, or the first plausible one at a higher temperature; the best one if none is."""
        results = [result]
        for temperature in TEMPERATURES:
            text, avg_logprob = results[-1].text, results[-1].avg_logprob
            if is_plausible(text, avg_logprob) or is_silent(results[-1].no_speech_prob, avg_logprob):
                return results[-1]
            results += self._decode(feature, options, temperature=temperature)
        return max(results, key=lambda each: plausibility(each.text, each.avg_logprob))

    def _hypothesis(self, window: Window, mel: torch.Tensor, result: Any, language: str) -> Hypothesis:
        if is_silent(result.no_speech_prob, result.avg_logprob):
            return empty_hypothesis(language, "no_speech")
        if window.final and compression(result.text) > MAX_COMPRESSION:
            return empty_hypothesis(language, "suppressed")
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
        delay_s = word_delay_s(self.info.model)
        timings = [timing for timing in alignment if timing.word.strip()]
        spans = with_lengths(
            [(float(timing.start) - delay_s, float(timing.end) - delay_s) for timing in timings],
            0.0,
            len(window.samples) / SAMPLE_RATE,
        )
        return tuple(
            Word(timing.word.strip(), start, end, float(timing.probability))
            for timing, (start, end) in zip(timings, spans, strict=True)
        )
