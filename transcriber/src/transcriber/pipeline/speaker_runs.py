"""Divides a final where its speaker changes. Pure."""

from itertools import groupby

from parlando.domain.decode_options import written_in
from parlando.domain.events import FinalTranscript
from parlando.domain.transcript import join, named_fields


def divided(final: FinalTranscript, task: str = "transcribe") -> list[FinalTranscript]:
    """The final as one segment for each run of words with one speaker, numbered from its own number on.

    One whose words have no speakers stays as it is, and so does one with a translation of the whole text.
    """
    runs = [
        (speaker, list(words)) for speaker, words in groupby(final.words or [], lambda word: word.speaker)
    ]
    if len(runs) < 2 or final.translations:
        return [final]
    language = written_in(final.language, task)
    parts = []
    for number, (speaker, words) in enumerate(runs):
        last = number == len(runs) - 1
        parts.append(
            final.model_copy(
                update={
                    "segment": final.segment + number,
                    "text": join([word.word for word in words], language),
                    "start": words[0].start if number else final.start,
                    "end": final.end if last else words[-1].end,
                    "speaker": speaker,
                    "words": words,
                    "continues": final.continues if last else None,
                }
            )
        )
    return parts


def named(final: FinalTranscript) -> FinalTranscript:
    """The segment with the name and the score of its speaker, if that is a known one."""
    found = final.recognised.get(final.speaker or "")
    return final.model_copy(update=named_fields(found)) if found else final
