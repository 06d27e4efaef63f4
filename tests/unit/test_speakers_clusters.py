"""Speaker labels: clusters of voices, of whole recordings, and which speaker says which word."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.speaker_margins import UNCLEAR, margins
from parlando.domain.transcript import TimedWord
from support.voices import voices
from transcriber.speakers import recording
from transcriber.speakers.attribution import attribute
from transcriber.speakers.clustering import (
    LEAST_S,
    MOST_NEEDED_S,
    SpeakerCount,
    centroids,
    cluster,
    smoothed,
)
from transcriber.speakers.embedding import unit
from transcriber.speakers.recording import speakers_of


def seconds(count: int, each: float = 0.75) -> np.ndarray:
    return np.full(count, each, np.float32)


TALK = [0] * 6 + [1] * 5 + [0] * 4 + [2] * 6 + [1] * 4


# --- clusters -------------------------------------------------------------------------------------


def test_voices_are_numbered_in_the_order_in_which_they_speak():
    order = [{0: 2, 1: 0, 2: 1}[label] for label in TALK]
    assert cluster(voices(order), seconds(len(TALK))).tolist() == TALK


def test_a_voice_with_little_speech_belongs_to_a_larger_one():
    labels = [0] * 8 + [1] + [0] * 4
    assert set(cluster(voices(labels), seconds(len(labels))).tolist()) == {0}
    long_enough = seconds(len(labels))
    long_enough[8] = LEAST_S + 0.1
    assert cluster(voices(labels), long_enough).tolist() == labels


def test_the_longer_the_talk_the_more_speech_a_speaker_needs():
    labels = [0] * 8 + [1] * 2
    assert cluster(voices(labels), seconds(10)).tolist() == labels
    longer = labels + [0] * 100
    assert set(cluster(voices(longer), seconds(110)).tolist()) == {0}
    more = longer + [1] * 2  # 4 times 0.75 s
    assert MOST_NEEDED_S < 4 * 0.75
    assert cluster(voices(more), seconds(112)).tolist() == more


def test_the_first_words_have_a_speaker_however_short_they_are():
    assert cluster(voices([0]), seconds(1, 0.3)).tolist() == [0]
    assert set(cluster(voices([0, 1]), seconds(2, 0.3)).tolist()) == {0}
    assert cluster(voices([]), seconds(0)).tolist() == []


@pytest.mark.parametrize(
    ("count", "found"),
    [
        (SpeakerCount(), 3),
        (SpeakerCount(most=2), 2),
        (SpeakerCount(most=1), 1),
        (SpeakerCount(least=2, most=5), 3),
        (SpeakerCount(least=4), 4),
        (SpeakerCount(5, 5), 5),
    ],
)
def test_the_number_of_speakers_is_kept(count, found):
    assert len(set(cluster(voices(TALK), seconds(len(TALK), 1.5), count=count).tolist())) == found


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(0, 5), min_size=0, max_size=30),
    st.integers(1, 6),
    st.floats(0.1, 2.0),
    st.integers(0, 10),
)
def test_any_voices_have_labels_in_order_and_within_the_bound(labels, most, spread, seed):
    vectors = voices(labels, seed=seed, spread=spread)
    found = cluster(vectors, seconds(len(labels)), count=SpeakerCount(most=most))
    assert len(found) == len(labels)
    assert len(set(found.tolist())) <= most
    firsts = list(dict.fromkeys(found.tolist()))
    assert firsts == list(range(len(firsts)))


def test_centroids_are_weighted_by_speech():
    vectors = unit(np.array([[1, 0], [0, 1], [0, 1]], np.float32))
    found = centroids(vectors, np.array([3.0, 4.0, 1.0], np.float32), np.array([0, 0, 1]))
    assert found == pytest.approx(np.array([[0.6, 0.8], [0.0, 1.0]]))


def test_a_voice_between_two_speakers_is_unclear():
    vectors = voices(TALK)
    vectors[3] = unit(vectors[0] + 1.1 * vectors[7])
    labels = np.array(TALK)
    found = margins(vectors, seconds(len(TALK)), labels)
    assert found[3] < UNCLEAR
    assert np.delete(found, 3).min() > 2 * UNCLEAR
    labels[8] = 0  # a wrong label is further from its speaker than from another one
    assert margins(vectors, seconds(len(TALK)), labels)[8] < 0


def test_a_single_speaker_is_clear():
    assert margins(voices([0] * 4), seconds(4), np.zeros(4, np.int64)).tolist() == [2.0] * 4


def test_a_single_window_between_two_of_another_speaker_is_theirs():
    labels = np.array([0, 1, 0, 0, 1, 1])
    assert smoothed(labels, np.zeros(6, np.int64)).tolist() == [0, 0, 0, 0, 1, 1]
    assert smoothed(labels, np.array([0, 1, 2, 2, 2, 2])).tolist() == labels.tolist()


# --- recordings -----------------------------------------------------------------------------------


def test_a_recording_has_its_speakers():
    groups = np.cumsum(np.diff(TALK, prepend=0) != 0)
    assert speakers_of(voices(TALK), seconds(len(TALK)), groups).tolist() == TALK
    assert speakers_of(voices([]), seconds(0), np.zeros(0, np.int64)).tolist() == []


def test_windows_beyond_the_bound_go_to_the_nearest_speaker(monkeypatch):
    talk = [0] * 40 + [1] * 30 + [2] * 40
    monkeypatch.setattr(recording, "CLUSTERED", 20)
    assert speakers_of(voices(talk), seconds(len(talk)), np.zeros(len(talk))).tolist() == talk


def test_beyond_the_bound_speakers_are_numbered_in_order_without_gaps(monkeypatch):
    monkeypatch.setattr(recording, "CLUSTERED", 12)
    talk = [0] + [1] * 30 + [0] * 30 + [2] * 30
    found = speakers_of(voices(talk), seconds(len(talk)), np.arange(len(talk)))
    assert list(dict.fromkeys(found.tolist())) == [0, 1, 2]
    assert found.tolist() == talk


# --- words ----------------------------------------------------------------------------------------


def words(text: str, each: float = 0.5) -> list[TimedWord]:
    return [TimedWord(word=word, start=n * each, end=n * each + 0.4) for n, word in enumerate(text.split())]


def test_words_before_and_after_a_change_have_their_speakers():
    said = words("one two three four five six")
    assert attribute(said, [4, 7], [1.45, 3.0]) == [4, 4, 4, 7, 7, 7]
    assert attribute(said, [4, 4, 4], [1.0, 2.0, 3.0]) == [4] * 6


def test_a_change_moves_to_the_end_of_a_sentence():
    assert attribute(words("are you there? yes I am"), [0, 1], [1.1, 3.0]) == [0, 0, 0, 1, 1, 1]
    assert attribute(words("are you there yes, I am"), [0, 1], [1.9, 3.0]) == [0, 0, 0, 0, 1, 1]


def test_a_sentence_end_that_is_far_away_does_not_attract_a_change():
    assert attribute(words("no. I think that we go"), [0, 1], [2.45, 3.0]) == [0, 0, 0, 0, 0, 1]


def test_a_change_before_the_first_or_behind_the_last_word():
    said = words("one two")
    assert attribute(said, [0, 1], [-1.0, 1.0]) == [1, 1]
    assert attribute(said, [0, 1], [5.0, 6.0]) == [0, 0]
    assert attribute([], [0, 1], [0.5, 1.0]) == []


@given(st.lists(st.integers(0, 3), min_size=1, max_size=12), st.integers(0, 20), st.integers(0, 2**32 - 1))
def test_any_words_have_speakers_of_the_windows_in_their_order(speakers, count, seed):
    said = words("a. " * count)
    places = np.sort(np.random.default_rng(seed).uniform(0, 10, len(speakers))).tolist()
    found = attribute(said, speakers, places)
    assert len(found) == count
    turns = [speaker for n, speaker in enumerate(speakers) if n == 0 or speaker != speakers[n - 1]]
    for a, b in pairwise(found):
        while a != b and turns and turns[0] != b:
            turns.pop(0)
        assert turns


def test_one_voice_is_not_divided_while_others_may_still_speak():
    rng = np.random.default_rng(3)
    voices = np.eye(2, 192, dtype=np.float32)
    vectors = unit(voices[[0] * 8 + [1] * 4] + 0.05 * rng.standard_normal((12, 192)).astype(np.float32))
    seconds = np.full(12, 0.75, np.float32)
    two = SpeakerCount(2, 2)
    assert set(cluster(vectors[:8], seconds[:8], count=two, complete=False)) == {0}
    assert set(cluster(vectors[:8], seconds[:8], count=two)) == {0, 1}
    assert cluster(vectors, seconds, count=two, complete=False).tolist() == [0] * 8 + [1] * 4
