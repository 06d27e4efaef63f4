"""Corrections of segments: their texts, the words' times, and what was recognised."""

import pytest

from parlando.domain.corrections import corrected, latest, retimed
from parlando.domain.transcript import FinalSegment, TimedWord


def timed(text: str, *, start: float = 0.0) -> tuple[TimedWord, ...]:
    """The words of a text, half a second each."""
    return tuple(
        TimedWord(word=word, start=start + n / 2, end=start + (n + 1) / 2)
        for n, word in enumerate(text.split())
    )


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("ask not what", "ask knot what", [("ask", 0.0, 0.5), ("knot", 0.5, 1.0), ("what", 1.0, 1.5)]),
        ("ask not", "ask not", [("ask", 0.0, 0.5), ("not", 0.5, 1.0)]),
        ("for ever now", "forever now", [("forever", 0.0, 1.0), ("now", 1.0, 1.5)]),
        ("forever", "for ever", [("for", 0.0, 0.25), ("ever", 0.25, 0.5)]),
        ("a b c", "a c", [("a", 0.0, 0.5), ("c", 1.0, 1.5)]),
        ("a c", "a b c", [("a", 0.0, 0.5), ("b", 0.5, 0.5), ("c", 0.5, 1.0)]),
        ("a", "a b", [("a", 0.0, 0.5), ("b", 0.5, 0.5)]),
        ("b", "a b", [("a", 0.0, 0.0), ("b", 0.0, 0.5)]),
    ],
)
def test_recognised_words_keep_their_times_and_others_share_what_is_between(before, after, expected):
    found = retimed(timed(before), after)
    assert [(word.word, word.start, word.end) for word in found] == expected
    assert " ".join(word.word for word in found) == after


def test_words_without_times_stay_without_words():
    assert retimed((), "a b") == ()


def test_the_last_correction_counts_until_it_is_taken_away():
    notes = [
        {"segment": 0, "text": "first", "original": "a"},
        {"segment": 1, "text": "other", "original": "b"},
        {"segment": 0, "text": "second", "original": "a"},
        {"segment": 1, "text": None, "original": "b"},
    ]
    assert latest(notes) == {0: "second"}


def test_a_corrected_segment_has_its_original_and_others_are_as_they_were():
    segments = [
        FinalSegment(segment=0, start=0, end=1, text="a b", words=timed("a b"), speaker="SPEAKER_00"),
        FinalSegment(segment=1, start=1, end=2, text="c"),
    ]
    first, second = corrected(segments, {0: "a x", 7: "nowhere"})
    assert (first.text, first.original, first.speaker) == ("a x", "a b", "SPEAKER_00")
    assert [word.word for word in first.words] == ["a", "x"]
    assert second == segments[1]
