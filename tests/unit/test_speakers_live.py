"""Speaker labels of live sessions: stable numbers, revisions, bounds, state."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.voices import voices
from transcriber.speakers import live
from transcriber.speakers.clustering import SpeakerCount
from transcriber.speakers.live import LiveSpeakers
from transcriber.speakers.windows import Span


def windows(count: int, each: float = 1.5) -> list[Span]:
    return [Span(n * each, (n + 1) * each, each) for n in range(count)]


def say(
    speakers: LiveSpeakers, segment: int, labels: list[int], *, seed: int = 0, each: float = 1.5
) -> list[int]:
    """Add an utterance of these voices as one segment."""
    found = speakers.add(windows(len(labels), each), voices(labels, seed=seed + segment + 1))
    speakers.place([(segment, range(len(labels)))])
    return found


def test_speakers_are_numbered_when_they_are_first_heard():
    speakers = LiveSpeakers()
    assert say(speakers, 0, [4, 4]) == [0, 0]
    assert say(speakers, 1, [2, 2, 2]) == [1, 1, 1]
    assert say(speakers, 2, [4, 4, 7, 7]) == [0, 0, 2, 2]
    assert speakers.speakers == 3
    assert speakers.revisions() == []


def test_numbers_stay_while_the_clusters_change():
    speakers = LiveSpeakers()
    say(speakers, 0, [0, 0])
    for n in range(1, 12):
        voice = n % 4
        assert set(say(speakers, n, [voice] * 3)) == {voice}
    assert speakers.revisions() == []


def test_a_short_first_answer_is_revised_when_its_speaker_is_known():
    speakers = LiveSpeakers()
    say(speakers, 0, [0, 0, 0])
    assert say(speakers, 1, [1], each=0.8) == [0]  # too little for a speaker
    assert say(speakers, 2, [1, 1]) == [1, 1]
    assert speakers.revisions() == [(1, 1)]
    assert speakers.revisions() == []


def test_speakers_that_prove_to_be_one_are_merged():
    speakers = LiveSpeakers()
    first, second = voices([0, 1], spread=0.0)
    say_vectors = [np.stack([first] * 2), np.stack([second] * 2)]
    for segment, vectors in enumerate(say_vectors):
        speakers.add(windows(2), vectors)
        speakers.place([(segment, [0, 1])])
    assert speakers.speakers == 2
    between = (first + second) / np.linalg.norm(first + second)
    speakers.add(windows(12), np.stack([between] * 12), count=SpeakerCount(most=1))
    speakers.place([(2, range(12))])
    revised = speakers.revisions()
    assert len(revised) == 1
    assert {number for _, number in revised} < {0, 1}


def test_an_utterance_may_become_several_segments():
    speakers = LiveSpeakers()
    speakers.add(windows(4), voices([0, 0, 1, 1]))
    speakers.place([(5, [0, 1]), (6, [2, 3])])
    assert speakers.add(windows(2), voices([1, 1])) == [1, 1]
    assert speakers.revisions() == []


def test_a_segment_whose_windows_come_late_gets_its_speaker_in_a_revision():
    speakers = LiveSpeakers()
    say(speakers, 0, [0, 0])
    speakers.unplaced(1)
    assert speakers.revisions() == []
    say(speakers, 2, [0, 0])
    assert speakers.add(windows(2), voices([1, 1])) == [1, 1]
    speakers.belated(1)
    assert speakers.revisions() == [(1, 1)]


def test_no_more_speakers_than_the_session_tells():
    speakers = LiveSpeakers()
    known = {}
    for n in range(5):
        found = speakers.add(windows(2), voices([n, n]), count=SpeakerCount(most=2))
        speakers.place([(n, [0, 1])])
        assert set(found) <= {0, 1}
        known[n] = found[0]
        known.update(speakers.revisions())
    assert speakers.speakers == 2
    assert len(set(known.values())) == 2


def test_the_nearest_speaker_of_a_voice():
    speakers = LiveSpeakers()
    assert speakers.nearest(voices([0])) == (-1, 0.0)
    say(speakers, 0, [3, 3])
    say(speakers, 1, [5, 5])
    number, cosine = speakers.nearest(voices([5, 5, 5], seed=0))
    assert number == 1
    assert cosine > 0.5
    assert speakers.nearest(voices([9]))[1] < 0.3


@pytest.fixture
def small(monkeypatch):
    """Bounds that a short session reaches."""
    monkeypatch.setattr(live, "RECENT", 12)
    monkeypatch.setattr(live, "EXAMPLES", 3)
    monkeypatch.setattr(live, "PIECES", 10)


def test_a_long_session_stays_within_its_bounds_and_keeps_its_speakers(small):
    speakers = LiveSpeakers()
    sizes = []
    for n in range(60):
        voice = (0, 1, 2, 0, 0)[n % 5] if n < 55 else 1
        assert set(say(speakers, n, [voice] * 2)) == {voice}
        sizes.append(len(json.dumps(speakers.dump())))
    assert speakers.speakers == 3
    state = speakers.dump()
    assert len(state["labels"]) <= 12 + 3 * 3
    assert len(state["pieces"]) == 10
    assert max(sizes) < 1.2 * sizes[20]


def test_windows_that_stay_stand_for_those_that_are_dropped(small):
    speakers = LiveSpeakers()
    for n in range(30):
        say(speakers, n, [n % 2] * 2)
    assert sum(speakers.dump()["seconds"]) == pytest.approx(30 * 2 * 1.5, rel=0.01)


@settings(max_examples=15, deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=5), min_size=1, max_size=12),
    st.integers(0, 11),
)
def test_a_session_that_moves_goes_on_as_before(utterances, moved):
    stays, moves = LiveSpeakers(), LiveSpeakers()
    for n, labels in enumerate(utterances):
        if n == moved % len(utterances):
            moves = LiveSpeakers.load(json.loads(json.dumps(moves.dump())))
        assert say(stays, n, labels) == say(moves, n, labels)
        assert stays.revisions() == moves.revisions()
    assert stays.speakers == moves.speakers


def test_an_empty_state_is_that_of_a_new_session():
    assert LiveSpeakers.load({}).dump() == LiveSpeakers().dump()
    assert LiveSpeakers.load(LiveSpeakers().dump()).dump() == LiveSpeakers().dump()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), max_size=10), st.floats(0.3, 2.0))
def test_clients_that_apply_all_revisions_know_the_speakers(utterances, spread):
    speakers, known = LiveSpeakers(), {}
    for n, labels in enumerate(utterances):
        found = speakers.add(windows(len(labels), 0.75), voices(labels, seed=n, spread=spread))
        speakers.place([(n, range(len(labels)))])
        known[n] = int(np.argmax(np.bincount(found)))
        known.update(speakers.revisions())
    pieces = {segment: number for segment, number, _ in speakers.dump()["pieces"]}
    assert known == pieces
    assert all(0 <= number < speakers.speakers for number in known.values())
