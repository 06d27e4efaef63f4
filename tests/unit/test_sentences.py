"""Sentences across the seams of segments: which word begins one, and where a full stop was wrong."""

import pytest

from bench.sentence_breaks import compare
from parlando.domain import subtitles
from parlando.domain.config import SessionConfig
from parlando.domain.transcript import FinalSegment, TimedWord, Transcript, unbroken
from transcriber.engines.base import Hypothesis, Word
from transcriber.engines.moonshine import _as_in_sentence
from transcriber.engines.whisper_sentences import Ways, ways_of
from transcriber.pipeline.context import SettledContext
from transcriber.pipeline.open_segment import OpenSegment

S = 16_000


def segment(text: str, number: int = 0, **more) -> FinalSegment:
    return FinalSegment(segment=number, text=text, start=float(number), end=number + 1.0, **more)


def heard(text: str, goes_on: bool | None = None, probability: float = 0.99) -> Hypothesis:
    words = tuple(Word(word, probability=probability) for word in text.split())
    return Hypothesis(words, "en", probability, goes_on=goes_on)


def committed(open_segment: OpenSegment) -> str:
    return " ".join(word.text for word in open_segment.agreement.committed)


def test_a_full_stop_before_a_small_letter_is_left_out():
    found = [s.text for s in unbroken([segment("Ask not."), segment("what your country can do.", 1)])]
    assert found == ["Ask not", "what your country can do."]


def test_other_ends_of_sentences_stay():
    for before, after in (("Ask not.", "What"), ("Ask not?", "what"), ("Ask…", "what"), ("And..", "what")):
        assert unbroken([segment(before), segment(after, 1)])[0].text == before
    assert unbroken([]) == []


def test_a_sentence_does_not_go_on_with_another_speaker():
    first, second = segment("Well.", speaker="A"), segment("yes", 1, speaker="B")
    assert unbroken([first, second]) == [first, second]


@pytest.mark.parametrize("before", ["We met at 5 p.m.", "In the U.S.", ".", "Well...", "Mr. Smith", "No"])
def test_other_full_stops_stay(before):
    assert unbroken([segment(before), segment("and so on.", 1)])[0].text == before


def test_a_sentence_does_not_go_on_behind_a_long_pause():
    late = segment("and so on.", 1).model_copy(update={"start": 3600.0, "end": 3601.0})
    assert unbroken([segment("It ends here."), late])[0].text == "It ends here."


def test_a_word_is_small_only_if_the_same_word_is_small_inside_the_sentence():
    for word, other, written in (
        ("Ask", "ask", "ask"),
        ("What,", "what", "what,"),
        ("Anna", "a", "Anna"),
        ("India", "in", "India"),
        ("USA", "us", "USA"),
        ("I'm", "i", "I'm"),
        ("Paris", "Paris", "Paris"),
    ):
        assert _as_in_sentence(Word(word), other).text == written


def tokens(text: str) -> list[int]:
    """A token for each word and for the punctuation behind it; capitals make another one."""
    parts = text.replace(".", " .").replace(",", " ,").split()
    return [sum(ord(letter) * 7**place for place, letter in enumerate(part)) for part in parts]


def spoken(text: str) -> tuple[Word, ...]:
    return tuple(Word(word, tokens=tuple(tokens(word))) for word in text.split())


def test_whisper_compares_a_full_stop_with_a_sentence_that_goes_on():
    ways = ways_of(spoken("Ask not."), spoken("What your country"), tokens)
    assert [*ways.texts] == [
        tokens("Ask not. What your country"),
        tokens("Ask not what your country"),
        tokens("Ask not, what your country"),
    ]
    assert (ways.first.text, list(ways.first.tokens)) == ("what", tokens("what"))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Ask not", "What"),
        ("Ask not?", "What"),
        ("", "What"),
        *(("So.", after) for after in ("I am", "I'm", "USA", "what", "1963", "")),
    ],
)
def test_whisper_compares_nothing_where_only_one_way_is_possible(before, after):
    assert ways_of(spoken(before), spoken(after), tokens) is None


def test_the_probability_of_an_end_is_that_of_its_text_among_all_ways():
    ways = Ways(([1, 2, 3], [1, 3], [1, 4, 3]), Word("what"))
    assert ways.ends([[0.5, 0.4], [0.5, 0.3], [0.5, 0.1]]) == pytest.approx(0.5)
    assert ways.ends([[0.5, 0.0], [0.5, 0.3], [0.5, 0.1]]) == pytest.approx(0.0, abs=1e-8)
    assert ways.ends([[1e-300] * 9, [1e-300] * 9, [1e-300] * 9]) == pytest.approx(1 / 3)


def test_documents_have_whole_sentences_and_finals_stay_as_they_were_sent():
    words = (TimedWord(word="Ask", start=0, end=0.5), TimedWord(word="not.", start=0.5, end=1))
    finals = [segment("Ask not.", words=words), segment("what your country can do.", 1)]
    document = Transcript.of("s", state="closed", duration=2, segments=finals)
    assert document.text == "Ask not what your country can do."
    assert [each.text for each in document.segments] == ["Ask not.", "what your country can do."]
    assert subtitles.text(document) == "Ask not\nwhat your country can do.\n"
    assert "Ask not what your" in " ".join(subtitles.srt(document).split())


def test_what_one_hypothesis_tells_of_the_sentence_is_kept_for_those_without_context():
    ongoing = OpenSegment(1, 0, 0)
    ongoing.take(heard("ask what you", goes_on=True), S, hold_from=8 * S)
    ongoing.take(heard("Ask what you can do"), 2 * S, hold_from=8 * S)
    ongoing.take(heard("Ask what you can do for"), 3 * S, hold_from=8 * S)
    assert committed(ongoing).startswith("ask what you")
    assert ongoing.partial("s", SessionConfig()).stable.startswith("ask what you")
    assert ongoing.in_sentence(heard("Ask what you can do for it.")).text == "ask what you can do for it."


def test_a_segment_that_begins_a_sentence_keeps_its_capital():
    new = OpenSegment(1, 0, 0)
    new.take(heard("Ask what you", goes_on=False), S, hold_from=8 * S)
    assert new.in_sentence(heard("Ask what you can do.")).text == "Ask what you can do."


def test_only_the_word_that_was_written_small_is_written_small():
    """Names and "I" stay: the decoder writes them with a capital within a sentence, too."""
    for first, later in (("I am", "I am glad"), ("Paris is", "Paris is far"), ("ask what", "Asking what")):
        ongoing = OpenSegment(1, 0, 0)
        ongoing.take(heard(first, goes_on=True), S, hold_from=8 * S)
        assert ongoing.in_sentence(heard(later)).text == later


def test_a_takeover_keeps_what_is_known_of_the_sentence():
    before = OpenSegment(1, 0, 0)
    before.take(heard("ask what you", goes_on=True), S, hold_from=8 * S)
    before.asked = True
    after = OpenSegment.load(before.dump())
    assert after is not None
    assert after.asked, "no second partial is decoded with the context"
    assert after.in_sentence(heard("Ask what you can")).text == "ask what you can"


def test_the_context_of_a_long_segment_is_its_last_words():
    context = SettledContext(8 * S)
    words = tuple(Word(f"w{second}", float(second), second + 0.8) for second in range(12))
    context.add(100 * S, 112 * S, words)
    begin, kept = context.before(112 * S + S // 2)
    assert (begin, next(word.text for word in kept)) == (109 * S, "w9")
    untimed = SettledContext(8 * S)
    untimed.add(100 * S, 112 * S, tuple(Word(f"w{second}") for second in range(12)))
    assert untimed.before(112 * S) == (112 * S, ())


@pytest.mark.parametrize("length", [1.0, 5.9, 6.1, 7.4, 7.6, 7.9, 8.0, 8.1, 12.0])
@pytest.mark.parametrize("pause", [0.1, 0.5, 1.0, 1.9])
def test_every_segment_is_context_however_long_it_is_and_the_pause_behind_it(length, pause):
    context = SettledContext(8 * S)
    timed = context.needs_times(round(length * S))
    words = tuple(Word(f"w{n}", *((n / 2, n / 2 + 0.4) if timed else ())) for n in range(int(2 * length)))
    context.add(100 * S, round((100 + length) * S), words)
    begin, kept = context.before(round((100 + length + pause) * S))

    assert kept
    assert kept[-1] == words[-1]
    assert (100 + length + pause) * S - begin <= 8 * S
    assert timed or length <= 6


def test_breaks_that_only_one_text_has_are_counted():
    whole = "And so, my fellow Americans, ask not. What can your country do? Ask again."
    found = compare("And so my fellow Americans. Ask not, what can your country do. ask again.", whole)
    assert [len(each) for each in (found.added, found.missing, found.stray)] == [1, 2, 0]
    assert compare(whole, whole).shared == 2
    assert compare("Ask not. what can your", "Ask not what can your").stray == ["Ask not. what can"]
