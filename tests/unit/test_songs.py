"""Landmarks, matching, and when a song is named."""

import numpy as np
import pytest

from parlando.domain.songs import RecognisedSong, Song, label
from parlando.store.song_index import RECORD_BYTES
from song_recognizer import matching
from song_recognizer.landmarks import DEFAULT, HASHES, Landmarks, landmarks, landmarks_in, levels
from song_recognizer.live import Tail, Windows
from song_recognizer.matching import BLOCK, FEW, Match, best_match
from song_recognizer.recognition import Excerpt, is_clear
from song_recognizer.rule import NamedOnce, Rule, is_candidate, is_silent
from support.music import at_8_khz, in_a_room, music, quieter, song_records, under_speech
from support.speech import RATE, fixture

SONGS = range(6)
EXCERPT = 10 * RATE


@pytest.fixture(scope="module")
def index():
    return song_records(SONGS)


def excerpt(number: int, start_s: float) -> np.ndarray:
    return music(number)[int(start_s * RATE) :][:EXCERPT]


def test_a_song_has_about_as_many_landmarks_as_intended_and_all_fit_their_records():
    found = landmarks(music(1))
    assert 10 < len(found) / 40 < 50
    assert found.hashes.min() >= 0
    assert found.hashes.max() < HASHES
    assert (np.diff(found.frames) >= 0).all()
    assert found.frames.max() * DEFAULT.frame_s < 40


def test_the_same_audio_has_the_same_landmarks_at_any_level():
    loud, soft = (set(landmarks(music(1) // part).hashes.tolist()) for part in (1, 8))
    assert len(loud & soft) > 0.8 * len(loud)


def test_nothing_and_silence_have_no_landmarks():
    assert len(landmarks(np.zeros(0, np.int16))) == 0
    assert len(landmarks(np.zeros(100, np.int16))) == 0
    assert len(landmarks(np.zeros(RATE, np.int16))) == 0
    assert best_match(Excerpt(np.zeros(RATE, np.int16)).many(), {}) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda pcm: pcm,
        at_8_khz,
        in_a_room,
        quieter,
        lambda pcm: under_speech(pcm, speech(), 5),
        lambda pcm: under_speech(pcm, speech(), 0),
    ],
    ids=["clean", "8 kHz", "reverberation", "-30 dB", "under speech +5 dB", "under speech 0 dB"],
)
def test_excerpts_are_recognised_with_their_place_in_the_song(index, change):
    for number in SONGS:
        start = 7.3 + number
        match = best_match(Excerpt(change(excerpt(number, start))).many(), index)
        assert match.number == number
        assert match.offset_s == pytest.approx(start, abs=0.1)
        assert is_candidate(match, Rule())


def speech() -> np.ndarray:
    return np.concatenate([fixture("jfk.flac")])


def test_other_music_and_speech_are_no_song_of_the_index(index):
    for pcm in (music(100)[:EXCERPT], music(101)[:EXCERPT], speech()[:EXCERPT]):
        sound = Excerpt(pcm)
        assert not is_clear(best_match(sound.few(), index))
        match = best_match(sound.many(), index)
        assert match.matches < Rule().alone
        assert not is_candidate(match, Rule())


@pytest.mark.parametrize("change", [lambda pcm: pcm, at_8_khz, quieter], ids=["clean", "8 kHz", "-30 dB"])
def test_music_that_plays_alone_is_recognised_by_few_landmarks(index, change):
    for number in SONGS:
        start = 7.3 + number
        sound = Excerpt(change(excerpt(number, start)))
        few = sound.few()
        match = best_match(few, index)
        assert (match.number, is_clear(match)) == (number, True)
        assert match.offset_s == pytest.approx(start, abs=0.1)
        assert len(sound.many()) > 5 * len(few)


def test_the_ratio_tells_two_equally_good_songs_apart():
    """One landmark in each block of the excerpt, at the same offset in the songs."""
    frames = np.arange(20) * BLOCK
    found = Landmarks(np.arange(20), frames)

    def song(number: int, value: int) -> bytes:
        return number.to_bytes(3, "little") + int(frames[value] + 5).to_bytes(2, "little")

    both = {value: song(1, value) + song(2, value) for value in range(20)}
    assert best_match(found, both).ratio == 1.0
    only = {value: song(1, value) for value in range(20)}
    assert best_match(found, only) == Match(1, 5 * DEFAULT.frame_s, 20, 20.0)


def test_among_millions_of_records_the_song_is_the_same_as_when_all_are_compared_exactly(index, monkeypatch):
    random = np.random.default_rng(1)
    query = Excerpt(excerpt(3, 9.0)).many()
    each = 250_000 // len(set(query.hashes.tolist()))

    def noise() -> bytes:
        songs, frames = random.integers(100, 2000, each), random.integers(0, 10_000, each)
        pairs = zip(songs.tolist(), frames.tolist(), strict=True)
        return b"".join(song.to_bytes(3, "little") + frame.to_bytes(2, "little") for song, frame in pairs)

    many = {value: index.get(value, b"") + noise() for value in set(query.hashes.tolist())}
    assert sum(map(len, many.values())) / RECORD_BYTES > 2 * FEW
    quick = best_match(query, many)
    assert (quick.number, is_candidate(quick, Rule())) == (3, True)
    monkeypatch.setattr(matching, "FEW", 10_000_000)
    exact = best_match(query, many)
    assert (exact.number, exact.offset_s, exact.matches) == (quick.number, quick.offset_s, quick.matches)


def test_an_excerpt_has_at_most_as_many_landmarks_as_wanted_and_keeps_those_of_near_peaks():
    pcm = excerpt(2, 4.0)
    every = landmarks(pcm)
    some = landmarks_in([*levels(pcm)], most=len(every) // 2)
    assert len(some) == len(every) // 2
    pairs = [set(zip(each.hashes.tolist(), each.frames.tolist(), strict=True)) for each in (some, every)]
    assert pairs[0] < pairs[1]
    assert {frame for _, frame in pairs[0]} > set(every.frames[: len(every) // 8].tolist())


def test_many_landmarks_of_one_note_count_once():
    found = Landmarks(np.arange(20), np.zeros(20, np.int64))
    note = dict.fromkeys(range(20), b"\1\0\0\5\0")
    assert best_match(found, note).matches == 1


# --- what is named ----------------------------------------------------------------------------------


def candidate(number: int, start: float, offset: float, duration: float = 60.0) -> RecognisedSong:
    song = Song(id=number, title=f"title {number}", duration=duration)
    return RecognisedSong.of(song, start=start, offset=offset, matches=20, ratio=9.0)


def named(*candidates, before=()) -> list[tuple[int, float]]:
    rule = NamedOnce(Rule(), before)
    found = [rule.consider(each) for each in candidates]
    return [(each.song_id, each.start) for each in found if each]


def test_a_song_is_named_once_after_two_windows_and_with_the_time_of_the_first():
    windows = [candidate(1, start, start - 3) for start in (5.0, 10.0, 15.0, 20.0, 25.0)]
    assert named(*windows) == [(1, 5.0)]


def test_one_window_or_two_that_do_not_fit_together_name_nothing():
    assert named(candidate(1, 5, 2), None, None, None) == []
    assert named(candidate(1, 5, 2), candidate(1, 10, 30)) == []
    assert named(candidate(1, 5, 2), candidate(2, 10, 7)) == []


def test_a_window_without_the_song_may_be_between():
    assert named(candidate(1, 5, 2), None, candidate(1, 15, 12)) == [(1, 5.0)]


def test_the_next_song_is_named_while_the_first_could_still_be_played():
    first = [candidate(1, start, start) for start in (0.0, 5.0)]
    second = [candidate(2, start, start - 10) for start in (10.0, 15.0)]
    assert named(*first, *second) == [(1, 0.0), (2, 10.0)]


def test_a_song_that_is_played_again_after_its_end_is_named_again():
    first = [candidate(1, start, start, 60) for start in (0.0, 5.0)]
    again = [candidate(1, start, start - 70, 60) for start in (70.0, 75.0)]
    assert named(*first, *again) == [(1, 0.0), (1, 70.0)]


def test_what_an_earlier_worker_has_named_is_not_named_again():
    windows = [candidate(1, start, start - 3) for start in (15.0, 20.0)]
    assert named(*windows, before=[candidate(1, 5, 2)]) == []


@pytest.mark.parametrize(
    ("artist", "words"), [("", "'Melody'"), ("The Band", "'Melody' by The Band")], ids=["no artist", "artist"]
)
def test_the_words_for_a_song(artist, words):
    assert label({"title": "Melody", "artist": artist}) == words


def test_silence_is_distinguished_from_quiet_music():
    assert is_silent(np.zeros(EXCERPT, np.int16))
    assert not is_silent(quieter(excerpt(1, 3)))


# --- windows of live audio --------------------------------------------------------------------------


def windows_of(tail: Tail) -> list[tuple[int, int]]:
    found = []
    while (window := tail.next_window()) is not None:
        found.append((window[0], len(window[1])))
    return found


def test_windows_begin_every_step_and_a_gap_begins_anew():
    tail = Tail(Windows(length=100, step=50, buffer=400))
    tail.add(0, np.arange(120, dtype=np.int16))
    assert windows_of(tail) == [(0, 100)]
    tail.add(100, np.arange(100, 190, dtype=np.int16))  # repeats what it has
    assert windows_of(tail) == [(50, 100)]
    tail.add(500, np.zeros(100, np.int16))  # what is between was trimmed before it was read
    assert windows_of(tail) == [(500, 100)]


def test_audio_that_waits_too_long_is_skipped():
    tail = Tail(Windows(length=100, step=50, buffer=200))
    tail.add(0, np.zeros(1000, np.int16))
    assert windows_of(tail) == [(800, 100), (850, 100), (900, 100)]
