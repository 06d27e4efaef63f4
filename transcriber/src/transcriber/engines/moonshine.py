"""Moonshine tiny on onnxruntime: the embedded default. English; one thread; no gain from batching.

Decoding is greedy. The committed words are forced, and the previous hypothesis is a draft that one forward
pass verifies; at the first difference decoding continues from there and verifies the rest of the draft
again. Model: Jeffries et al., "Moonshine: Speech Recognition for Live Transcription and Voice Commands",
2024. Measurements behind each choice: docs/decisions/0003-moonshine.md.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnxruntime as ort
import structlog

from parlando.domain.audio import SAMPLE_RATE, Float32
from parlando.domain.transcript import bare
from parlando.errors import EngineError
from transcriber.engines.base import Engine, EngineInfo, Hypothesis, Window, Word, with_first_as
from transcriber.engines.guards import truncate_repetition
from transcriber.engines.moonshine_variants import Variant, further_variants, variants_of
from transcriber.engines.word_times import align

LAYERS: Final = 6
HEADS: Final = 8
HEAD_DIM: Final = 36
BOS: Final = 1
EOS: Final = 2
FIRST_ADDED_TOKEN: Final = 32_000  # id from which on tokens are special, not text
TOKENS_PER_SECOND: Final = 6.5  # limit of a hypothesis; English speech needs 2.4 to 5.1
DRAFT_TOKENS: Final = 8  # draft tokens verified by one forward pass after the first
FRAME_S: Final = 384 / SAMPLE_RATE  # seconds per encoder frame
MIN_SAMPLES: Final = SAMPLE_RATE // 2  # shorter windows are padded with silence
PARTIAL_PADDING: Final = SAMPLE_RATE // 5  # samples of silence appended to a partial's window
REDECODE_CONFIDENCE: Final = 0.95  # a final below this confidence is decoded again
SENTENCE_ENDS: Final = (".", "?", "!", "..", "...")
GOES_ON_BELOW: Final = {False: 0.1, True: 0.3}
"""Probability below which no sentence ends before a segment, in a partial and in a final, which has all audio
behind the place."""
SURE_END: Final = 0.5  # from this probability on, one does
MIN_LOGPROB: Final = -1.0  # mean per token; a hypothesis below it is suppressed


@dataclass(frozen=True, slots=True)
class _Decoded:
    """The result of decoding one variant.

    `states`: the encoder's output. `tokens`: those of `context` and `words`. `start`: where the segment
    begins in the variant, in seconds. `goes_on`: see `Hypothesis`.
    """

    words: tuple[Word, ...]
    confidence: float
    reason: str | None
    states: Float32
    tokens: list[int]
    context: tuple[Word, ...]
    start: float
    goes_on: bool | None = None


@dataclass(frozen=True, slots=True)
class _Tokens:
    """Decoded tokens and the log-probability of each.

    `ends`: probability that a sentence ends before the new ones; None if that wasn't asked. `otherwise`: the
    first token of the most probable word if none ends.
    """

    ids: list[int]
    logprobs: list[float]
    ends: float | None = None
    otherwise: int = EOS


_PAST: Final = tuple(
    f"past_key_values.{layer}.{side}.{kind}"
    for layer in range(LAYERS)
    for side in ("decoder", "encoder")
    for kind in ("key", "value")
)
_SELF: Final = tuple(name for name in _PAST if ".decoder." in name)
_CROSS: Final = tuple(name for name in _PAST if ".encoder." in name)

log = structlog.get_logger(part="moonshine")


class Vocabulary:
    """Token ids to text: SentencePiece pieces with byte fallback."""

    def __init__(self, tokenizer: Path) -> None:
        pieces: dict[str, int] = json.loads(tokenizer.read_text(encoding="utf-8"))["model"]["vocab"]
        self._bytes: list[bytes] = [b""] * len(pieces)
        self.begins_word = np.zeros(32_768, bool)
        self.ends_sentence = [token for piece, token in pieces.items() if piece in SENTENCE_ENDS]
        self.full_stop = pieces["."]
        for piece, token in pieces.items():
            if token <= EOS:
                continue
            byte = re.fullmatch(r"<0x([0-9A-F]{2})>", piece)
            self._bytes[token] = bytes([int(byte[1], 16)]) if byte else piece.encode()
            self.begins_word[token] = piece.startswith("▁") and piece.strip("▁") != ""

    def text(self, tokens: Sequence[int]) -> str:
        """The text of `tokens`, without the leading space."""
        raw = b"".join(self._bytes[token] for token in tokens if EOS < token < FIRST_ADDED_TOKEN)
        return raw.decode("utf-8", "replace").replace("▁", " ").strip()

    def words(self, tokens: Sequence[int]) -> list[list[int]]:
        """`tokens` grouped by word; tokens that aren't text are left out."""
        words: list[list[int]] = []
        for token in tokens:
            if not EOS < token < FIRST_ADDED_TOKEN:
                continue
            if self.begins_word[token] or not words:
                words.append([])
            words[-1].append(token)
        return words


def _log_softmax(row: Float32) -> Float32:
    shifted = row - row.max()
    return shifted - np.log(np.exp(shifted).sum())  # type: ignore[no-any-return]


def _as_in_sentence(word: Word, other: str) -> Word:
    """`word` with a small letter if `other`, the word inside a sentence, is the same one with a small letter.

    `other` is one token. A word of several tokens stays: another word may begin with the first one.
    """
    small = word.text[:1].lower() + word.text[1:]
    return replace(word, text=small) if other.islower() and bare(small) == bare(other) else word


class MoonshineEngine(Engine):
    """Moonshine tiny, int8, from a folder of the model store."""

    def __init__(self, folder: Path, *, name: str = "tiny") -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3  # hides warnings about weights of the merged file that aren't used

        def session(path: Path) -> ort.InferenceSession:
            return ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

        self._vocabulary = Vocabulary(folder / "tokenizer.json")
        self._may_follow_prefix = self._vocabulary.begins_word.copy()
        self._may_follow_prefix[EOS] = True
        try:
            from transcriber.engines.moonshine_graph import optimised

            graphs = optimised(folder)
            self._encoder = session(graphs.encoder)
            self._first, self._next = session(graphs.first), session(graphs.following)
            self._merged = False
        except (ImportError, OSError, ValueError) as error:
            log.warning("moonshine.merged", why=str(error), effect="decoding takes about twice the time")
            self._encoder = session(folder / "encoder_model.onnx")
            options.add_session_config_entry("session.disable_quant_qdq", "1")
            self._first = self._next = session(folder / "decoder_model_merged.onnx")
            self._merged = True
        cached = self._next.get_outputs()
        self._next_outputs = [o.name for o in cached if ".encoder." not in o.name]
        self._first_outputs = [
            o.name for o in self._first.get_outputs() if o.name.startswith(("logits", "pres"))
        ]
        self.info = EngineInfo(
            name="moonshine",
            model=name,
            languages=frozenset({"en"}),
            tasks=frozenset({"transcribe"}),
            max_window_s=28.0,
            batch=1,
            word_times=not self._merged,
            primes=True,
            context_s=8.0,
            concurrent=True,
            improves=True,
            details={"decoder": "merged" if self._merged else "split int8"},
        )

    def transcribe(self, windows: Sequence[Window]) -> list[Hypothesis]:
        """See `Engine.transcribe`; windows are decoded one by one."""
        try:
            return [self._transcribe(window) for window in windows]
        except Exception as error:  # onnxruntime raises several types
            raise EngineError(f"moonshine failed on a window: {error}") from error

    def _transcribe(self, window: Window) -> Hypothesis:
        """Decode a window; if it gave no words, or a final of low confidence, decode variants of it.

        Moonshine gives no words for some quiet windows, for some cut close to speech, and for the first
        second of many segments; shifted or at another level, it decodes many of them.
        """
        if window.earlier is not None:
            return self._improved(window, window.earlier)
        first, *others = variants_of(window)
        best = self._decode_variant(window, first, window.prefix + window.draft)
        if not best.words:
            for variant in others:
                best = self._decode_variant(window, variant, ())
                if best.words:
                    break
            return self._hypothesis(window, best)
        uncertain = window.final and best.confidence < REDECODE_CONFIDENCE
        found = self._hypothesis(window, best, improvable=uncertain)
        while window.redecode and found.improvable:
            window = replace(window, earlier=found, attempt=window.attempt + 1)
            found = self._improved(window, found)
        return found

    def _improved(self, window: Window, earlier: Hypothesis) -> Hypothesis:
        """The one of a higher confidence: `earlier`, or the hypothesis of the window's next variant."""
        variants = further_variants(window)
        variant = variants[window.attempt - 1]
        decoded = self._decode_variant(window, variant, earlier.words)
        found = earlier
        if decoded.confidence > (earlier.confidence or 0.0):
            found = self._hypothesis(window, decoded)
            if earlier.goes_on and found.goes_on is None:  # this variant is decoded without the context
                found = replace(found, words=with_first_as(found.words, earlier.words[0].text))
        goes_on = found.goes_on
        if goes_on is None and bare(found.words[0].text) == bare(earlier.words[0].text):
            goes_on = earlier.goes_on
        left = window.attempt < len(variants)
        improvable = left and (found.confidence or 0.0) < REDECODE_CONFIDENCE
        return replace(found, improvable=improvable, goes_on=goes_on)

    def _hypothesis(self, window: Window, decoded: _Decoded, *, improvable: bool = False) -> Hypothesis:
        if not decoded.words:
            return Hypothesis((), "en", None, decoded.reason)
        words = self._timed(decoded) if window.words and not self._merged else decoded.words
        confidence = round(decoded.confidence, 4)
        return Hypothesis(tuple(words), "en", confidence, improvable=improvable, goes_on=decoded.goes_on)

    def _decode_variant(self, window: Window, variant: Variant, expected: Sequence[Word]) -> _Decoded:
        """Decode one variant. `expected`: the probable words of the result, used as a draft."""
        begin = 0 if variant.context else min(window.context_samples + variant.skip, len(window.samples))
        samples = window.samples[begin:]
        context = window.context if variant.context else ()
        if variant.peak:
            samples = samples * np.float32(variant.peak / max(float(np.abs(samples).max(initial=0)), 1e-6))
        padding = max(variant.padding if window.final else PARTIAL_PADDING, MIN_SAMPLES - len(samples))
        padded = np.concatenate([samples, np.zeros(padding, np.float32)])
        states = self._encoder.run(None, {"input_values": padded[None]})[0]
        forced = [token for word in (*context, *window.prefix) for token in word.tokens]
        draft = [token for word in expected[len(window.prefix) :] for token in word.tokens]
        at_seam = bool(context) and not window.prefix and forced[-1] == self._vocabulary.full_stop
        ask = window.tells_sentence and at_seam
        decoded = self._decode(states, len(samples) / SAMPLE_RATE, forced, draft, ask=ask)
        goes_on = None
        if decoded.ends is not None and not GOES_ON_BELOW[window.final] <= decoded.ends < SURE_END:
            goes_on = decoded.ends < SURE_END
        tokens = truncate_repetition(decoded.ids, keep=len(forced))
        words = self._words(tokens, decoded.logprobs)[len(context) :]
        if goes_on and words:
            words[0] = _as_in_sentence(words[0], self._vocabulary.text([decoded.otherwise]))
        new = decoded.logprobs[len(forced) : len(tokens)] or decoded.logprobs
        mean = float(np.mean(new)) if new else -np.inf
        if not words or mean < MIN_LOGPROB:
            reason = "suppressed" if words else "no_speech"
            return _Decoded(window.prefix, 0.0, reason, states, tokens, context, 0.0)
        start = (window.context_samples - begin) / SAMPLE_RATE
        return _Decoded(tuple(words), float(np.exp(mean)), None, states, tokens, context, start, goes_on)

    def _words(self, tokens: list[int], logprobs: list[float]) -> list[Word]:
        words, at = [], 0
        for group in self._vocabulary.words(tokens):
            probability = float(np.exp(np.mean(logprobs[at : at + len(group)])))
            words.append(
                Word(self._vocabulary.text(group), probability=round(probability, 4), tokens=tuple(group))
            )
            at += len(group)
        return words

    def _decode(
        self, states: Float32, seconds: float, prefix: list[int], draft: list[int], *, ask: bool
    ) -> _Tokens:
        """Greedily decoded tokens, which begin with `prefix`, and the log-probability of each.

        `states`: float32 of shape (1, frames, 288). The first token behind the prefix must begin a word, so
        that no committed word changes. `ask`: the prefix ends with a full stop; find out how probable it is,
        with the audio behind it, and what would follow without it.
        """
        limit = max(int(seconds * TOKENS_PER_SECOND) + 2, len(prefix) + 2)
        draft = draft.copy()
        given = [BOS, *prefix, *draft]
        logits, past = self._first_step(given, states)
        tokens = list(prefix)
        logprobs = [float(_log_softmax(logits[at])[token]) for at, token in enumerate(prefix)]
        ends, otherwise = None, EOS
        if ask:
            row = _log_softmax(logits[len(prefix) - 1])
            ends = float(np.exp(row[self._vocabulary.ends_sentence]).sum())
            otherwise = int(np.where(self._vocabulary.begins_word, row, -np.inf).argmax())
        base = 0  # row `len(tokens) - base` of the logits predicts the next token
        while True:
            row = _log_softmax(logits[len(tokens) - base])
            if len(tokens) == len(prefix):
                row = np.where(self._may_follow_prefix, row, -np.inf)
            token = int(row.argmax())
            if token == EOS or len(tokens) >= limit:
                return _Tokens(tokens, logprobs, ends, otherwise)
            tokens.append(token)
            logprobs.append(float(row[token]))
            if token in draft[:4]:
                del draft[: draft.index(token) + 1]
            elif draft:
                draft.pop(0)
            at = len(tokens) - base
            if at < len(given) and given[at] == token:
                continue
            keep = past[_SELF[0]].shape[2] - (len(logits) - at)
            for name in _SELF:
                past[name] = past[name][:, :, :keep]
            given, base = [token, *draft[:DRAFT_TOKENS]], len(tokens)
            logits, past = self._next_step(given, states, past)

    def _first_step(self, given: list[int], states: Float32) -> tuple[Float32, dict[str, Float32]]:
        feed: dict[str, Any] = {"input_ids": np.array([given], np.int64), "encoder_hidden_states": states}
        if self._merged:
            feed |= dict.fromkeys(_PAST, np.zeros((1, HEADS, 0, HEAD_DIM), np.float32))
            feed["use_cache_branch"] = np.array([False])
        logits, *past = self._first.run(self._first_outputs, feed)
        return logits[0], dict(zip(_PAST, past, strict=True))

    def _next_step(
        self, given: list[int], states: Float32, past: dict[str, Float32]
    ) -> tuple[Float32, dict[str, Float32]]:
        feed: dict[str, Any] = {"input_ids": np.array([given], np.int64), **past}
        if self._merged:
            feed |= {"encoder_hidden_states": states, "use_cache_branch": np.array([True])}
        logits, *own = self._next.run(self._next_outputs, feed)
        return logits[0], {**past, **dict(zip(_SELF, own, strict=True))}

    def _timed(self, decoded: _Decoded) -> list[Word]:
        """The words with times from the cross-attention of one forward pass over the final tokens."""
        from transcriber.engines.moonshine_graph import ATTENTION

        feed = {
            "input_ids": np.array([[BOS, *decoded.tokens]], np.int64),
            "encoder_hidden_states": decoded.states,
        }
        weights = np.stack([layer[0] for layer in self._first.run(list(ATTENTION), feed)])
        words = (*decoded.context, *decoded.words)
        # Row i holds the attention with which token i + 1 was predicted, so the last row is not needed.
        spans = align(weights[:, :, :-1], [len(word.tokens) for word in words], FRAME_S)
        return [
            replace(word, start=max(0.0, start - decoded.start), end=max(0.0, end - decoded.start))
            for word, (start, end) in zip(decoded.words, spans[len(decoded.context) :], strict=True)
        ]
