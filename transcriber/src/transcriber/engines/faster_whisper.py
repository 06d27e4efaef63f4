"""Whisper on CTranslate2: several times faster than torch, int8 on the CPU, no torch needed.

Windows that need the same kind of decode are encoded and decoded in one batch (see `whisper_attempts.py`).
"""

import math
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from ctranslate2 import StorageView
from faster_whisper import WhisperModel
from faster_whisper.tokenizer import Tokenizer

from parlando.domain.audio import SAMPLE_RATE, Float32
from parlando.domain.transcript import UNSPACED
from parlando.errors import EngineError, ModelError
from transcriber.engines.base import Engine, EngineInfo, Hypothesis, Window, Word
from transcriber.engines.guards import MAX_COMPRESSION, compression, truncate_repetition
from transcriber.engines.whisper_attempts import FULL_CONTEXT_S, SAMPLES, Attempt, attempts
from transcriber.engines.whisper_text import empty_hypothesis, is_plausible, is_silent

BATCH: Final = {"cpu": 4, "cuda": 32}  # windows decoded in one call
FRAMES_PER_S: Final = 100  # of the log-mel spectrogram
FRAME: Final = SAMPLE_RATE // FRAMES_PER_S
FFT: Final = 400  # samples of a frame's Fourier transform
POSITION_S: Final = 0.02  # seconds of one position of the encoder
LOG_FLOOR: Final = -10.0  # smallest power, as a decimal logarithm …
LOG_RANGE: Final = 8.0  # … and smallest power below the largest one of the window
MIN_TOKENS: Final = 16  # of a text, however short the window
MAX_TOKENS_PER_S: Final = {True: 25, False: 10}  # multilingual or English; English speech needs 3 to 6


@dataclass(slots=True)
class _Job:
    """A window on its way through its attempts. `mel`: shape (bands, frames) of its samples alone."""

    window: Window
    mel: Float32
    attempts: deque[Attempt]
    language: str
    prompt: list[int] = field(default_factory=list)
    states: dict[int, Float32] = field(default_factory=dict)
    hypothesis: Hypothesis | None = None


class FasterWhisperEngine(Engine):
    """A converted Whisper model, by size or folder."""

    def __init__(self, model: str, *, device: str = "auto") -> None:
        try:
            self._whisper = WhisperModel(
                model, device="cpu" if device == "mps" else device, compute_type="auto", cpu_threads=1
            )
        except Exception as error:  # the hub client and CTranslate2 raise many types
            raise ModelError(
                f"faster-whisper model {model!r} can't be loaded: {error}. Give a converted model's folder, "
                "or a size that can be downloaded"
            ) from error
        self._model = self._whisper.model
        self._multilingual = bool(self._model.is_multilingual)
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}
        self.info = EngineInfo(
            name="faster-whisper",
            model=Path(model).name,
            languages=frozenset(self._whisper.supported_languages),
            tasks=frozenset({"transcribe", "translate"} if self._multilingual else {"transcribe"}),
            concurrent=True,
            max_window_s=float(FULL_CONTEXT_S),
            batch=BATCH[self._model.device],
            word_times=True,
            primes=False,
            details={"device": self._model.device, "compute_type": self._model.compute_type},
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        try:
            return self._transcribe(windows)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"faster-whisper failed on a window: {error}") from error

    def _transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        jobs = [self._job(window) for window in windows]
        while waiting := [job for job in jobs if job.hypothesis is None]:
            batches: dict[tuple[Attempt, int], list[_Job]] = defaultdict(list)
            for job in waiting:
                batches[job.attempts.popleft(), len(job.prompt)].append(job)
            for (attempt, _), batch in batches.items():
                self._attempt(attempt, batch)
        return [job.hypothesis for job in jobs if job.hypothesis is not None]

    def _job(self, window: Window) -> _Job:
        language = (window.language or "").split("-")[0] if self._multilingual else "en"
        tokenizer = self._tokenizer(language or "en", window.task)
        words = tokenizer.encode(" " + window.prompt.strip()) if window.prompt else []
        # The tokens of the language are replaced once it is known; their number is the same.
        prompt = self._whisper.get_prompt(tokenizer, words, without_timestamps=True)
        return _Job(window, self._mel(window.samples), deque(attempts(window)), language, prompt)

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        key = language, task
        if key not in self._tokenizers:
            hf = self._whisper.hf_tokenizer
            self._tokenizers[key] = Tokenizer(hf, self._multilingual, task=task, language=language)
        return self._tokenizers[key]

    # --- encoding -----------------------------------------------------------------------------

    def _mel(self, samples: Float32) -> Float32:
        """The log-mel spectrogram of the samples, shape (bands, frames)."""
        mel: Float32 = self._whisper.feature_extractor(np.pad(samples, (0, FFT)), padding=0)
        return mel

    def _encode(self, batch: Sequence[_Job], context_s: int) -> StorageView:
        """The encoder's states of the batch, shape (batch, positions, width), in a context of `context_s`."""
        if all(context_s in job.states for job in batch):
            return StorageView.from_array(np.stack([job.states[context_s] for job in batch]))
        frames = context_s * FRAMES_PER_S
        mels = np.stack([_padded(job.mel, frames) for job in batch])
        states = self._model.encode(StorageView.from_array(mels), to_cpu=self._model.device != "cpu")
        for job, row in zip(batch, np.array(states), strict=True):
            job.states[context_s] = row
        return states

    def _detect_languages(self, batch: Sequence[_Job], states: StorageView) -> None:
        if all(job.language for job in batch):
            return
        for job, chances in zip(batch, self._model.detect_language(states), strict=True):
            if not job.language:
                job.language = str(chances[0][0]).strip("<|>")
                tokenizer = self._tokenizer(job.language, job.window.task)
                job.prompt = job.prompt[: -len(tokenizer.sot_sequence) - 1]
                job.prompt += [*tokenizer.sot_sequence, tokenizer.no_timestamps]

    # --- decoding -----------------------------------------------------------------------------

    def _attempt(self, attempt: Attempt, batch: Sequence[_Job]) -> None:
        """Decode the batch; sets the hypotheses of the jobs that need no other attempt."""
        states = self._encode(batch, attempt.context_s)
        self._detect_languages(batch, states)
        longest_s = max(len(job.window.samples) for job in batch) / SAMPLE_RATE
        tokens = MIN_TOKENS + int(MAX_TOKENS_PER_S[self._multilingual] * longest_s)
        sampled = {"beam_size": attempt.beam}
        if attempt.temperature:
            sampled = {
                "beam_size": 1,
                "num_hypotheses": SAMPLES,
                "sampling_topk": 0,
                "sampling_temperature": attempt.temperature,
            }
        results = self._model.generate(
            states,
            [job.prompt for job in batch],
            max_length=min(self._whisper.max_length, len(batch[0].prompt) + tokens),
            return_scores=True,
            return_no_speech_prob=True,
            suppress_tokens=[-1],
            **sampled,
        )
        timed = []
        for job, result in zip(batch, results, strict=True):
            tokens = result.sequences_ids[0]
            logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)  # the end token counts as one
            job.hypothesis = self._judge(job, tokens, logprob, result.no_speech_prob)
            if job.window.words and job.hypothesis is not None and job.hypothesis.words:
                timed.append(job)
        if timed:
            self._add_times(timed, attempt.context_s)

    def _judge(
        self, job: _Job, tokens: list[int], logprob: float, no_speech_prob: float
    ) -> Hypothesis | None:
        """The hypothesis of a decode; None if it isn't plausible and other attempts are left."""
        if is_silent(no_speech_prob, logprob):
            return empty_hypothesis(job.language, "no_speech")
        tokenizer = self._tokenizer(job.language, job.window.task)
        text = tokenizer.decode(tokens).strip()
        if job.attempts and not is_plausible(text, logprob):
            return None
        if job.window.final and compression(text) > MAX_COMPRESSION:
            return empty_hypothesis(job.language, "suppressed")
        words = _words(tokenizer, truncate_repetition([token for token in tokens if token < tokenizer.eot]))
        reason = None if words else "no_speech"
        return Hypothesis(words, job.language, round(math.exp(logprob), 4), reason)

    def _add_times(self, jobs: Sequence[_Job], context_s: int) -> None:
        """Add the times and probabilities of words, from the model's cross-attention."""
        alike: dict[tuple[str, str], list[_Job]] = defaultdict(list)
        for job in jobs:
            alike[job.language, job.window.task].append(job)
        for (language, task), batch in alike.items():
            tokenizer = self._tokenizer(language, task)
            hypotheses = [job.hypothesis for job in batch if job.hypothesis is not None]
            alignments = self._model.align(
                self._encode(batch, context_s),
                tokenizer.sot_sequence,
                [[token for word in hypothesis.words for token in word.tokens] for hypothesis in hypotheses],
                [len(job.window.samples) // FRAME for job in batch],
            )
            for job, hypothesis, alignment in zip(batch, hypotheses, alignments, strict=True):
                seconds = len(job.window.samples) / SAMPLE_RATE
                job.hypothesis = replace(hypothesis, words=_timed(hypothesis.words, alignment, seconds))


def _padded(mel: Float32, frames: int) -> Float32:
    """`mel` followed by silence, as if the samples had been padded with zeros."""
    silence = (max(LOG_FLOOR, float(mel.max()) * 4 - 4 - LOG_RANGE) + 4) / 4
    padded = np.full((mel.shape[0], frames), silence, np.float32)
    padded[:, : min(frames, mel.shape[1])] = mel[:, :frames]
    return padded


def _words(tokenizer: Tokenizer, tokens: list[int]) -> tuple[Word, ...]:
    """The words of `tokens`, punctuation included; characters in a language without spaces."""
    words: list[Word] = []
    for text, ids in zip(*tokenizer.split_to_word_tokens(tokens), strict=True):
        if words and tokenizer.language_code not in UNSPACED and not text.startswith(" "):
            last = words[-1]
            words[-1] = Word(last.text + text, tokens=(*last.tokens, *ids))
        elif text.strip():
            words.append(Word(text.strip(), tokens=tuple(ids)))
    return tuple(words)


def _timed(words: Sequence[Word], alignment: Any, seconds: float) -> tuple[Word, ...]:
    """`words` with the times of CTranslate2's alignment: pairs of token and position of 20 ms."""
    first: dict[int, float] = {}
    for token, position in alignment.alignments:
        first.setdefault(token, min(position * POSITION_S, seconds))
    probabilities = alignment.text_token_probs
    timed, at = [], 0
    for word in words:
        after = at + len(word.tokens)
        timed.append(
            replace(
                word,
                start=round(first[at], 3),
                end=round(first.get(after, seconds), 3),
                probability=float(np.mean(probabilities[at:after])),
            )
        )
        at = after
    return tuple(timed)
