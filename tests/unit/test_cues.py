"""Cues of subtitles: within the rules, nothing lost, nothing overlapping."""

import io
import json
import re
from itertools import pairwise

import pytest
import srt
import webvtt
from hypothesis import example, given
from hypothesis import strategies as st

from parlando.domain import subtitles
from parlando.domain.cues import CHARS_PER_S, MIN_CUE_S, CueRules, cues_of, width
from parlando.domain.transcript import FinalSegment, TimedWord, Transcript
from support.cues import violations
from support.speech import FIXTURES

AMERICANS = (
    "And so, my fellow Americans, ask not what your country can do for you, ask what you can do for it."
)


def segment(text: str, start: float, end: float, number: int = 0, **more) -> FinalSegment:
    return FinalSegment(segment=number, text=text, start=start, end=end, **more)


def transcript(*segments: FinalSegment) -> Transcript:
    return Transcript.of("s", state="closed", duration=100.0, segments=segments)


def shown(*segments: FinalSegment, **rules) -> list[list[str]]:
    return [cue.texts for cue in cues_of(segments, CueRules(**rules))]


def test_a_long_segment_is_cut_at_sentences_and_clauses():
    text = "It rained all day. We stayed at home, read our books, and played cards until it was late."
    assert shown(segment(text, 0, 7.5)) == [
        ["It rained all day."],
        ["We stayed at home, read our books,", "and played cards until it was late."],
    ]


def test_short_segments_of_one_speaker_are_joined():
    """ "ask not" alone would be shown for half a second."""
    parts = [
        segment("And so my fellow Americans.", 0.3, 2.2),
        segment("ask not", 3.3, 3.8, 1),
        segment("what your country can do for you.", 4.0, 5.7, 2),
    ]
    assert shown(*parts) == [
        ["And so my fellow Americans."],
        ["ask not what your country can do for you."],
    ]


def test_the_lines_end_where_the_sense_allows_it():
    [lines] = shown(segment("I could not help watching your face with some anxiety.", 0, 4))
    assert lines[0].split()[-1] not in ("your", "some", "with", "I")


def test_speakers_do_not_share_a_cue_and_are_named_where_they_begin():
    parts = [
        segment("Good morning.", 0, 1.5, speaker="Ann"),
        segment("How are you?", 1.6, 3, 1, speaker="Ann"),
        segment("Fine, thanks.", 3.2, 5, 2, speaker="Bob Lee"),
    ]
    found = subtitles.srt(transcript(*parts))
    assert "Ann: Good morning. How are you?" in found
    assert found.count("Ann:") == 1
    assert "Bob Lee: Fine, thanks." in found
    assert "<v Bob Lee>Fine, thanks." in subtitles.vtt(transcript(*parts))


def test_a_cue_stays_a_little_and_small_pauses_are_closed():
    first, second, third = cues_of(
        [
            segment("One.", 0, 2, speaker="A"),
            segment("Two.", 2.4, 4, 1, speaker="B"),
            segment("Three.", 20, 22, 2, speaker="B"),
        ]
    )
    assert (first.start, first.end) == (0, pytest.approx(2.4 - 0.08))
    assert (second.start, second.end) == (2.4, pytest.approx(4.5))
    assert third.start == 20


def test_the_times_of_the_words_are_used():
    spoken = {"One": 1, "two": 2, "three": 8, "four.": 9}
    words = [TimedWord(word=word, start=at, end=at + 0.3) for word, at in spoken.items()]
    cues = cues_of([segment("One two three four.", 1, 9.5, words=tuple(words))])
    assert [(cue.texts, cue.start) for cue in cues] == [(["One two"], 1.0), (["three four."], 8.0)]


def test_a_word_that_is_longer_than_a_line_is_cut():
    cues = cues_of([segment("x" * 100, 0, 10)])
    assert max(width(line) for cue in cues for line in cue.texts) <= 42
    assert "".join(line for cue in cues for line in cue.texts) == "x" * 100


def test_text_without_spaces_is_cut_between_characters_of_full_width():
    text = "私は毎朝七時に起きて、近くの公園を散歩してから、会社に行きます。昼は同僚と食事をします。"
    cues = cues_of([segment(text, 0, 12, language="ja")])
    assert "".join(line for cue in cues for line in cue.texts) == text
    assert max(width(line) for cue in cues for line in cue.texts) <= 42


def test_the_rules_can_be_chosen():
    rules = {"max_line_chars": 20, "max_lines": 1, "max_cue_s": 3}
    for cue in cues_of([segment(AMERICANS, 0, 9)], CueRules(**rules)):
        assert len(cue.lines) == 1
        assert cue.width <= 20
        assert cue.end - cue.start <= 3


def test_read_speech_breaks_no_rule():
    """The checker follows the published rules; the times are those of words spoken at an even rate."""
    rows = [json.loads(line) for line in (FIXTURES / "speech" / "manifest.jsonl").read_text().splitlines()]
    checked = 0
    for row in rows:
        if row.get("text"):
            cues = cues_of([segment(row["text"], 0.2, row["duration_s"] - 0.2)])
            assert violations(cues) == [], row["file"]
            checked += len(cues)
    assert checked > 20


times = st.lists(
    st.tuples(
        st.text(st.sampled_from("abc. ,?"), min_size=1, max_size=120).filter(lambda text: text.strip()),
        st.floats(0, 30),
        st.floats(0, 10),
        st.sampled_from([None, "A", "B"]),
    ),
    max_size=12,
)


@example([("?", 0.0, 0.0, "A"), ("?", 0.0, 0.0, "B"), ("a", 0.0, 0.0, "A")])
@given(times)
def test_nothing_is_lost_and_nothing_overlaps(parts):
    at, segments = 0.0, []
    for number, (text, length, pause, speaker) in enumerate(parts):
        segments.append(segment(text, at, at + length, number, speaker=speaker))
        at += length + pause
    cues = cues_of(segments)
    said = "".join("".join(line.split()) for cue in cues for line in cue.texts)
    assert said == "".join("".join(each.text.split()) for each in segments)
    for cue in cues:
        assert cue.start < cue.end
        assert cue.end - cue.start <= 7.001
        assert len(cue.lines) <= 2
        assert max(map(width, cue.texts)) <= 42
    for before, after in pairwise(cues):
        assert before.end <= after.start


def test_every_format_is_read_by_its_library():
    document = transcript(segment(AMERICANS, 0.5, 9, speaker="<Ann & Bob>"))
    parsed = list(srt.parse(subtitles.srt(document)))
    assert " ".join(" ".join(cue.content.split()) for cue in parsed) == f"<Ann & Bob>: {AMERICANS}"
    for write in (subtitles.vtt, subtitles.karaoke):
        captions = webvtt.from_buffer(io.StringIO(write(document))).captions
        assert " ".join(" ".join(caption.text.split()) for caption in captions) == AMERICANS
    karaoke = subtitles.karaoke(document)
    marks = re.findall(r"<(\d\d:\d\d:\d\d\.\d{3})>", karaoke)
    assert len(marks) > 15
    assert marks == sorted(marks)
    ass = subtitles.ass(document)
    events = [line for line in ass.splitlines() if line.startswith("Dialogue: ")]
    assert len(events) == len(parsed)
    assert all(len(event.split(",", 9)) == 10 for event in events)


def test_the_rules_are_those_of_the_documents():
    assert (MIN_CUE_S, CHARS_PER_S, CueRules().max_cue_s) == (1.0, 20.0, 7.0)
