"""A Whisper model by language: errors with the language given and detected: python -m bench.languages [model]

Needs the larger collection of recordings beside the checkout. Fetches the model. Clips are cut and decoded as
in jobs; the language is that of the first piece.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import jiwer
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

from audio_processor.chunking import ChunkPlanner
from bench.results import Table
from parlando import vad
from parlando.domain.audio import Float32, Pcm16, to_float
from parlando.domain.transcript import UNSPACED, join
from parlando.models.catalogue import find
from parlando.models.store import ModelStore
from support.speech import load, rows
from transcriber.engines.base import Engine, Hypothesis, Window
from transcriber.engines.faster_whisper import FasterWhisperEngine
from transcriber.pipeline.language import TRUSTED

WITH_TEXT: Final = ("c_non_english", "a_english_read", "b_long")
WITHOUT_TEXT: Final = ("c2_non_english_unlabelled", "d2_8khz_unlabelled")
"""Categories that are used for the detection only."""
INEXACT: Final = ("digits form", "machine text", "engines answer")
"""Parts of `text_confidence` where errors of the engine and of the transcript can't be told apart."""
WEAK: Final = 25.0  # per cent of errors from which on a language should not be advertised
FEW: Final = 40  # words, below which an error rate says little
MOST_CLIPS: Final = 20  # of English

basic, english = BasicTextNormalizer(), EnglishTextNormalizer()


@dataclass(frozen=True)
class Spoken:
    """A clip of a language, in pieces of at most 28 s. `text`: "" if it is unknown."""

    language: str
    text: str
    pieces: Sequence[Float32]


@dataclass(frozen=True)
class Result:
    """What the engine makes of a clip: its text if it is told the language, and if it is not.

    `found`: the language that it detects. `probability`: of that.
    """

    spoken: Spoken
    given: str
    detected: str
    found: str | None
    probability: float


def spoken_clips() -> list[Spoken]:
    """All clips in one known language."""
    detector = vad.load("auto")
    clips: list[Spoken] = []
    for category in (*WITH_TEXT, *WITHOUT_TEXT):
        for path, row in rows(category):
            language = row["language"] or "?"
            enough = language == "en" and sum(clip.language == "en" for clip in clips) >= MOST_CLIPS
            if enough or "?" in language or "+" in language:
                continue
            exact = not any(part in (row.get("text_confidence") or "") for part in INEXACT)
            text = row["text"] if exact and category in WITH_TEXT else ""
            clips.append(Spoken(language, text or "", pieces(load(path), detector)))
    return clips


def pieces(pcm: Pcm16, detector: vad.VadModel) -> list[Float32]:
    """The chunks that the audio-processor makes of a recording."""
    planner, whole = ChunkPlanner(), len(pcm) // vad.FRAME * vad.FRAME
    chunks = planner.push(pcm[:whole], detector.stream().push(to_float(pcm[:whole])))
    return [to_float(chunk.pcm) for chunk in [*chunks, *planner.finish(pcm[whole:])]]


def hear(engine: Engine, spoken: Spoken) -> Result:
    """Decode a clip with its language, and with the one that is detected in its first piece."""

    def decode(piece: Float32, language: str | None) -> Hypothesis:
        return engine.transcribe([Window(piece, language=language, final=True)])[0]

    def text(hypotheses: Sequence[Hypothesis]) -> str:
        return join([word.text for each in hypotheses for word in each.words], spoken.language)

    given = [decode(piece, spoken.language) for piece in spoken.pieces]
    first = decode(spoken.pieces[0], None)
    detected = [first, *(decode(piece, first.language) for piece in spoken.pieces[1:])]
    return Result(spoken, text(given), text(detected), first.language, first.language_probability or 0.0)


def normal(text: str, language: str) -> str:
    """The text without case and punctuation; characters as words where the language has no spaces."""
    if language == "en":
        return english(text)
    plain = basic(text)
    return " ".join(plain.replace(" ", "")) if language in UNSPACED else plain


def errors(results: Sequence[Result], texts: Sequence[str], language: str) -> float:
    """The word error rate in per cent; that of characters where the language has no spaces."""
    said = [normal(result.spoken.text, language) for result in results]
    return 100 * jiwer.wer(said, [normal(text, language) for text in texts])


def main() -> None:
    """Measure, and publish the table."""
    name = sys.argv[1] if len(sys.argv) > 1 else "whisper-base"
    engine = FasterWhisperEngine(str(ModelStore().pull(find(name))))
    by_language: dict[str, list[Result]] = defaultdict(list)
    for clip in spoken_clips():
        by_language[clip.language].append(hear(engine, clip))
    columns = ("language", "words", "errors, language given, %", "detected, %", "language found in")
    table = Table("languages", f"{name} by language", columns)
    weak, few = [], []
    for language, results in sorted(by_language.items()):
        worded = [result for result in results if result.spoken.text]
        words = sum(len(normal(result.spoken.text, language).split()) for result in worded)
        given = found = None
        if worded:
            given = errors(worded, [result.given for result in worded], language)
            found = errors(worded, [result.detected for result in worded], language)
        hits = sum(result.found == language for result in results)
        if given is not None and given >= WEAK:
            weak.append(language)
        elif words < FEW:
            few.append(language)
        table.rows.append((language, words, given, found, f"{hits} of {len(results)} clips"))
        table.data[language] = {"given": given, "detected": found, "found": hits, "clips": len(results)}
    every = [result for results in by_language.values() for result in results]
    right = sum(result.found == result.spoken.language for result in every)
    sure = [result.found == result.spoken.language for result in every if result.probability >= TRUSTED]
    table.remarks = [
        f"The language is found in {right} of {len(every)} clips; of {len(sure)} found with a probability of "
        f"at least {TRUSTED}, {sure.count(False)} are wrong. Errors are those of words, in "
        f"{', '.join(sorted(UNSPACED))} of characters, after Whisper's own normalisation.",
        f"Too weak to be advertised ({WEAK:.0f} % of errors or more): {', '.join(weak) or 'none'}. Fewer "
        f"than {FEW} words with a reliable transcript, which prove nothing: {', '.join(few) or 'none'}.",
    ]
    table.publish()


if __name__ == "__main__":
    main()
