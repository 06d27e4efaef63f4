"""Whisper on CTranslate2: several times faster than torch, int8 on the CPU, no torch needed.

Windows that need the same kind of decode are decoded in one batch (see `whisper_attempts.py`). A window's
result doesn't depend on the other windows of its batch.
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
from parlando.domain.decode_options import written_in
from parlando.domain.transcript import UNSPACED
from parlando.errors import EngineError, ModelError
from transcriber.engines.base import Engine, EngineInfo, Hypothesis, Window
from transcriber.engines.guards import MAX_COMPRESSION, compression, repeats_phrase, truncate_repetition
from transcriber.engines.whisper_attempts import (
    FULL,
    FULL_CONTEXT_S,
    SAMPLES,
    Attempt,
    Context,
    attempts,
    short_context,
)
from transcriber.engines.whisper_sentences import GOES_ON_BELOW, SURE_END, ways_of
from transcriber.engines.whisper_text import (
    empty_hypothesis,
    is_plausible,
    is_silent,
    parts_of,
    plausibility,
)
from transcriber.engines.whisper_words import with_probabilities, with_times, word_delay_s, words_of_tokens

BATCH: Final = {"cpu": 4, "cuda": 32}  # windows decoded in one call
FRAMES_PER_S: Final = 100  # of the log-mel spectrogram
FRAME: Final = SAMPLE_RATE // FRAMES_PER_S
FFT: Final = 400  # samples of a frame's Fourier transform
LOG_FLOOR: Final = -10.0  # smallest power, as a decimal logarithm …
LOG_RANGE: Final = 8.0  # … and smallest power below the largest one of the window
CONTEXT_S: Final = 8.0  # audio before a segment that tells whether a sentence goes on
MIN_TOKENS: Final = 16  # of a text, however short the window
MAX_TOKENS_PER_S: Final = {True: 25, False: 10}  # multilingual or English; English speech needs 3 to 6
MULTILINGUAL_TASKS: Final = ("transcribe", "translate", "detect_language")


@dataclass(frozen=True, slots=True)
class _Decode:
    """What one attempt has decoded. `logprob`: the mean of the tokens' log-probabilities."""

    tokens: list[int]
    text: str
    logprob: float
    context: Context


@dataclass(slots=True)
class _Job:
    """A window on its way through its attempts.

    `mel`: shape (bands, frames), of the samples alone. `prompt`: tokens before the text. `states`: of the
    encoder by context, shape (positions, width). `rejected`: decodes that aren't plausible. `hypothesis`:
    None while attempts are needed.
    """

    window: Window
    mel: Float32
    attempts: deque[Attempt]
    prompt: list[int]
    language: str
    language_probability: float | None = None
    states: dict[Context, Float32] = field(default_factory=dict)
    rejected: list[_Decode] = field(default_factory=list)
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
        self._word_delay_s = word_delay_s(Path(model).name)
        self._tokenizers: dict[tuple[str, str], Tokenizer] = {}
        silence = _padded(self._mel(np.zeros(SAMPLE_RATE, np.float32)), FULL_CONTEXT_S * FRAMES_PER_S)
        self._silence = self._encode([silence])[0]
        self.info = EngineInfo(
            name="faster-whisper",
            model=Path(model).name,
            languages=self._languages(),
            tasks=frozenset(MULTILINGUAL_TASKS if self._multilingual else {"transcribe"}),
            concurrent=True,
            max_window_s=float(FULL_CONTEXT_S),
            batch=BATCH[self._model.device],
            word_times=True,
            primes=False,
            context_s=CONTEXT_S,
            details={"device": self._model.device, "compute_type": self._model.compute_type},
        )

    def _languages(self) -> frozenset[str]:
        """The model's languages; faster-whisper's list has those of all models."""
        token = self._whisper.hf_tokenizer.token_to_id
        return frozenset(
            code for code in self._whisper.supported_languages if token(f"<|{code}|>") is not None
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`."""
        try:
            return self._transcribe(windows)
        except (RuntimeError, ValueError) as error:
            raise EngineError(f"faster-whisper failed on a window: {error}") from error

    def _transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        jobs = [self._job(_without_context(window)) for window in windows]
        while waiting := [job for job in jobs if job.hypothesis is None]:
            alike: dict[tuple[Attempt, int], list[_Job]] = defaultdict(list)
            for job in waiting:
                alike[job.attempts.popleft(), len(job.prompt)].append(job)
            for (attempt, _), batch in alike.items():
                self._attempt(attempt, batch)
        return [self._in_sentence(window, job) for window, job in zip(windows, jobs, strict=True)]

    def _job(self, window: Window) -> _Job:
        language = (window.language or "").split("-")[0] if self._multilingual else "en"
        tokenizer = self._tokenizer(language or "en", window.task)
        before = tokenizer.encode(" " + window.prompt.strip()) if window.prompt else []
        # The tokens of the language are replaced once it is known; their number is the same.
        prompt = self._whisper.get_prompt(
            tokenizer, before, without_timestamps=True, hotwords=window.hotwords or None
        )
        return _Job(window, self._mel(window.samples), deque(attempts(window)), prompt, language)

    def _tokenizer(self, language: str, task: str) -> Tokenizer:
        key = language, "translate" if task == "translate" else "transcribe"
        if key not in self._tokenizers:
            hf = self._whisper.hf_tokenizer
            self._tokenizers[key] = Tokenizer(hf, self._multilingual, task=key[1], language=language)
        return self._tokenizers[key]

    # --- encoding -----------------------------------------------------------------------------

    def _mel(self, samples: Float32) -> Float32:
        """The log-mel spectrogram of the samples, shape (bands, frames)."""
        mel: Float32 = self._whisper.feature_extractor(np.pad(samples, (0, FFT)), padding=0)
        return mel

    def _encode(self, mels: Sequence[Float32]) -> Float32:
        """The encoder's states of log-mels of the same shape: (batch, positions, width)."""
        states = self._model.encode(
            StorageView.from_array(np.stack(mels)), to_cpu=self._model.device != "cpu"
        )
        return np.array(states)

    def _encode_in(self, mels: Sequence[Float32], context: Context) -> list[Float32]:
        """The states of log-mels in a context: (positions, width) of each."""
        frames = int(context.seconds * FRAMES_PER_S)
        found = self._encode([_padded(mel, frames) for mel in mels])
        silence = self._silence[len(self._silence) - context.positions + found.shape[1] :]
        return [np.concatenate([states, silence]) for states in found]

    def _states(self, batch: Sequence[_Job], context: Context) -> StorageView:
        """The states that the batch's decodes attend to: (batch, positions, width)."""
        fresh = [job for job in batch if context not in job.states]
        if fresh:
            found = self._encode_in([job.mel for job in fresh], context)
            for job, states in zip(fresh, found, strict=True):
                job.states[context] = states
        return StorageView.from_array(np.stack([job.states[context] for job in batch]))

    def _detect_languages(self, batch: Sequence[_Job], states: StorageView) -> None:
        """Detect the languages of the jobs that have none."""
        if all(job.language for job in batch):
            return
        for job, detected in zip(batch, self._model.detect_language(states), strict=True):
            if job.language:
                continue
            found = [(token.strip("<|>"), float(probability)) for token, probability in detected]
            allowed = [each for each in found if each[0] in job.window.languages] or found
            job.language, most = max(allowed, key=lambda each: each[1])
            job.language_probability = most / sum(probability for _, probability in allowed)
            tokenizer = self._tokenizer(job.language, job.window.task)
            beginning = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
            job.prompt = job.prompt[: -len(beginning)] + beginning

    # --- decoding -----------------------------------------------------------------------------

    def _attempt(self, attempt: Attempt, batch: Sequence[_Job]) -> None:
        """Decode the batch; sets the hypotheses of the jobs that need no other attempt."""
        states = self._states(batch, attempt.context)
        self._detect_languages(batch, states)
        for job in batch:
            if job.window.task == "detect_language":
                job.hypothesis = Hypothesis((), job.language, language_probability=job.language_probability)
        batch = [job for job in batch if job.hypothesis is None]
        if not batch:
            return
        longest_s = max(len(job.window.samples) for job in batch) / SAMPLE_RATE
        most = MIN_TOKENS + int(MAX_TOKENS_PER_S[self._multilingual] * longest_s)
        sampled: dict[str, Any] = {"beam_size": attempt.beam}
        if attempt.temperature:
            sampled = {
                "beam_size": 1,
                "num_hypotheses": SAMPLES,
                "sampling_topk": 0,
                "sampling_temperature": attempt.temperature,
            }
        results = self._model.generate(
            self._states(batch, attempt.context),
            [job.prompt for job in batch],
            max_length=min(self._whisper.max_length, len(batch[0].prompt) + most),
            return_scores=True,
            return_no_speech_prob=True,
            return_logits_vocab=not batch[0].window.final,
            suppress_tokens=[-1],
            **sampled,
        )
        timed: dict[Context, list[_Job]] = defaultdict(list)
        for job, result in zip(batch, results, strict=True):
            tokens = result.sequences_ids[0]
            logprob = result.scores[0] * len(tokens) / (len(tokens) + 1)  # the end token counts as one
            if attempt.temperature and not tokens:
                logprob = -math.inf  # CTranslate2 gives no score to an empty text; a sampled one mustn't win
            if is_silent(result.no_speech_prob, logprob):
                job.hypothesis = empty_hypothesis(job.language, "no_speech")
                continue
            text = self._tokenizer(job.language, job.window.task).decode(tokens).strip()
            chosen = self._choose(job, _Decode(tokens, text, logprob, attempt.context))
            if chosen is None:
                continue
            job.hypothesis = self._hypothesis(job, chosen)
            if not job.window.final:
                rated = with_probabilities(job.hypothesis.words, _probabilities(tokens, result.logits[0]))
                job.hypothesis = replace(job.hypothesis, words=rated)
            elif job.window.words and job.hypothesis.words:
                timed[chosen.context].append(job)
        for context, jobs in timed.items():
            self._add_times(jobs, context)

    def _choose(self, job: _Job, decode: _Decode) -> _Decode | None:
        """The decode that counts: a plausible one, or the best if no attempt is left; None before that."""
        # In a short context, Whisper sometimes repeats a short utterance.
        doubtful = decode.context != FULL and repeats_phrase(parts_of(decode.text, self._written(job)))
        if not doubtful and is_plausible(decode.text, decode.logprob):
            return decode
        if not doubtful or not job.attempts:
            job.rejected.append(decode)
        if job.attempts:
            return None
        return max(job.rejected, key=lambda each: plausibility(each.text, each.logprob))

    def _written(self, job: _Job) -> str | None:
        return written_in(job.language, job.window.task)

    def _hypothesis(self, job: _Job, decode: _Decode) -> Hypothesis:
        if job.window.final and compression(decode.text) > MAX_COMPRESSION:
            return empty_hypothesis(job.language, "suppressed")
        tokenizer = self._tokenizer(job.language, job.window.task)
        kept = truncate_repetition([token for token in decode.tokens if token < tokenizer.eot])
        split = tokenizer.split_tokens_on_spaces
        if self._written(job) in UNSPACED:
            split = tokenizer.split_tokens_on_unicode
        words = words_of_tokens(split, kept, self._written(job))
        return Hypothesis(
            words,
            job.language,
            round(math.exp(decode.logprob), 4),
            None if words else "no_speech",
            language_probability=job.language_probability,
        )

    def _add_times(self, jobs: Sequence[_Job], context: Context) -> None:
        """Add the times and probabilities of words, from the model's cross-attention."""
        alike: dict[tuple[int, ...], list[_Job]] = defaultdict(list)
        for job in jobs:
            alike[tuple(self._tokenizer(job.language, job.window.task).sot_sequence)].append(job)
        for beginning, batch in alike.items():
            hypotheses = [job.hypothesis for job in batch if job.hypothesis is not None]
            alignments = self._model.align(
                self._states(batch, context),
                beginning,
                [[token for word in hypothesis.words for token in word.tokens] for hypothesis in hypotheses],
                [len(job.window.samples) // FRAME for job in batch],
            )
            for job, hypothesis, found in zip(batch, hypotheses, alignments, strict=True):
                rated = with_probabilities(hypothesis.words, found.text_token_probs)
                seconds = len(job.window.samples) / SAMPLE_RATE
                timed = with_times(rated, found.alignments, seconds, delay_s=self._word_delay_s)
                job.hypothesis = replace(hypothesis, words=timed)

    def _in_sentence(self, window: Window, job: _Job) -> Hypothesis:
        """The job's hypothesis, written as the rest of the context's last sentence if it goes on there."""
        hypothesis = job.hypothesis
        assert hypothesis is not None
        tokenizer = self._tokenizer(job.language or "en", window.task)
        ways = ways_of(window.context, hypothesis.words, tokenizer.encode) if window.tells_sentence else None
        if ways is None or len(window.samples) > FULL_CONTEXT_S * SAMPLE_RATE:
            return hypothesis
        [states] = self._encode_in([self._mel(window.samples)], short_context(window))
        alignments = self._model.align(
            StorageView.from_array(np.stack([states] * len(ways.texts))),
            tokenizer.sot_sequence,
            list(ways.texts),
            len(window.samples) // FRAME,
        )
        ends = ways.ends([each.text_token_probs for each in alignments])
        if ends < GOES_ON_BELOW[window.final]:
            first, *rest = hypothesis.words
            written = replace(first, text=ways.first.text, tokens=ways.first.tokens)
            return replace(hypothesis, words=(written, *rest), goes_on=True)
        return replace(hypothesis, goes_on=False if ends >= SURE_END else None)


def _without_context(window: Window) -> Window:
    """The window without the audio before its segment."""
    return replace(window, samples=window.samples[window.context_samples :], context_samples=0)


def _probabilities(tokens: Sequence[int], logits: Sequence[StorageView]) -> list[float]:
    """The probability of each token, from the logits of its step."""
    found = []
    for token, step in zip(tokens, logits, strict=False):  # the end token has a step, too
        values = np.array(step)
        found.append(float(1 / np.exp(values - values[token]).sum()))
    return found


def _padded(mel: Float32, frames: int) -> Float32:
    """`mel` followed by silence, as if the samples had been padded with zeros."""
    silence = (max(LOG_FLOOR, float(mel.max()) * 4 - 4 - LOG_RANGE) + 4) / 4
    padded = np.full((mel.shape[0], frames), silence, np.float32)
    padded[:, : min(frames, mel.shape[1])] = mel[:, :frames]
    return padded
