"""From an engine's words to segments that one can read."""

from parlando.store.chunk_claims import ChunkSpec
from transcriber.chunks.segments import segments
from transcriber.engines.base import Hypothesis, Word

S = 16_000


def work(*speech: tuple[float, float], start: float = 0.0, speaker: str | None = None) -> ChunkSpec:
    spans = tuple((round(a * S), round(b * S)) for a, b in speech)
    return ChunkSpec(start=round(start * S), speech=spans, covered_samples=0, speaker=speaker)


def heard(text: str, times: list[tuple[float, float]] | None = None) -> Hypothesis:
    words = text.split()
    spans = times or [(None, None)] * len(words)
    return Hypothesis(
        tuple(Word(w, a, b, 0.5) for w, (a, b) in zip(words, spans, strict=True)), "en", confidence=0.5
    )


def test_nothing_heard_is_no_segment():
    assert segments(work((0, 1)), Hypothesis((), reason="no_speech"), words=True) == []


def test_times_are_those_of_the_file():
    found = segments(
        work((10.5, 12), start=10.0), heard("Hello there.", [(0.6, 1.0), (1.2, 1.9)]), words=True
    )
    assert [(s.start, s.end, s.text) for s in found] == [(10.5, 12.0, "Hello there.")]
    assert [(w.word, w.start, w.end) for w in found[0].words] == [
        ("Hello", 10.5, 11.0),
        ("there.", 11.2, 12.0),
    ]


def test_sentences_and_long_pauses_end_segments():
    hypothesis = heard("One is. Two are three four", [(0, 0.6), (0.6, 1.4), (1.5, 2), (2, 3), (5, 6), (6, 7)])
    found = segments(work((0, 3), (5, 7)), hypothesis, words=False)
    assert [s.text for s in found] == ["One is.", "Two are", "three four"]
    assert [s.start for s in found] == [0, 1.5, 5]
    assert all(not s.words for s in found)


def test_a_word_that_the_engine_puts_into_silence_belongs_to_the_nearest_utterance():
    hypothesis = heard("first second", [(0.0, 1.6), (1.7, 4.0)])
    found = segments(work((0.2, 1.0), (3.0, 4.0)), hypothesis, words=True)
    assert [(w.start, w.end) for s in found for w in s.words] == [(0.2, 1.0), (3.0, 4.0)]


def test_times_rise_and_lie_in_speech_whatever_the_engine_says():
    hypothesis = heard("a b c d", [(3.0, 2.0), (0.5, 9.0), (-1.0, 0.1), (1.0, 1.5)])
    words = [w for s in segments(work((0, 2), (2.1, 4)), hypothesis, words=True) for w in s.words]
    assert len(words) == 4
    edges = [t for w in words for t in (w.start, w.end)]
    assert edges == sorted(edges)
    assert 0 <= edges[0] <= edges[-1] <= 4


def test_without_word_times_it_is_one_segment():
    found = segments(work((1, 3), (5, 8)), heard("No. Times. Here."), words=True)
    assert [(s.start, s.end, s.text) for s in found] == [(1, 8, "No. Times. Here.")]


def test_a_channel_is_a_speaker():
    assert segments(work((0, 1), speaker="SPEAKER_01"), heard("hi"), words=False)[0].speaker == "SPEAKER_01"


def test_nobody_reads_for_longer_than_ten_seconds():
    count = 120
    hypothesis = heard("word " * count, [(n * 0.25, n * 0.25 + 0.25) for n in range(count)])
    found = segments(work((0, 30)), hypothesis, words=False)
    assert all(s.end - s.start <= 10.6 for s in found)
    assert sum(len(s.text.split()) for s in found) == count
