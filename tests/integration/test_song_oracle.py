"""The recognition of songs compared with audfprint2's, on the same songs and excerpts."""

import numpy as np
import pytest
from audfprint2 import Analyzer, HashTable, Matcher
from audfprint2.core.analyzer import landmarks2hashes
from scipy.signal import resample_poly

from parlando.domain.songs import RecognisedSong, Song
from song_recognizer.matching import best_match
from song_recognizer.recognition import Excerpt
from song_recognizer.rule import NamedOnce, Rule, is_candidate
from support.music import in_a_room, music, song_records, under_speech
from support.speech import RATE, fixture

SONGS = range(20, 30)


class Oracle:
    """audfprint2 with its own index."""

    def __init__(self) -> None:
        self._analyzer = Analyzer()
        self._table = HashTable()
        for number in SONGS:
            self._table.store(str(number), self._hashes(music(number)))

    def _hashes(self, pcm: np.ndarray) -> np.ndarray:
        rate = self._analyzer.target_sr
        shared = int(np.gcd(rate, RATE))
        audio = resample_poly(pcm.astype(np.float32) / 32768, rate // shared, RATE // shared)
        peaks = self._analyzer.find_peaks(audio, rate)
        return np.unique(landmarks2hashes(self._analyzer.peaks2landmarks(peaks)), axis=0)

    def song(self, pcm: np.ndarray) -> int | None:
        found = Matcher().match_hashes(self._table, self._hashes(pcm))
        return int(self._table.names[found[0][0]]) if len(found) else None


@pytest.fixture(scope="module")
def oracle():
    return Oracle()


@pytest.fixture(scope="module")
def records():
    return song_records(SONGS)


def ours(records: dict[int, bytes], pcm: np.ndarray) -> int | None:
    match = best_match(Excerpt(pcm).many(), records)
    return match.number if is_candidate(match, Rule()) else None


@pytest.mark.parametrize(
    "change",
    [lambda pcm: pcm, in_a_room, lambda pcm: under_speech(pcm, fixture("jfk.flac"), 0)],
    ids=["clean", "reverberation", "under speech"],
)
def test_what_audfprint_recognises_is_recognised(oracle, records, change):
    excerpts = {number: change(music(number)[number * RATE :][: 10 * RATE]) for number in SONGS}
    theirs = {number: oracle.song(pcm) for number, pcm in excerpts.items()}
    found = {number: ours(records, pcm) for number, pcm in excerpts.items()}
    right = [number for number in SONGS if found[number] == number]
    assert [number for number in SONGS if theirs[number] == number and number not in right] == []
    assert [number for number in SONGS if found[number] not in (number, None)] == []


def test_no_song_is_named_in_other_music(records):
    """One window may look like a song; several at places that fit together don't."""
    for number in range(60, 66):
        named = NamedOnce(Rule())
        for start in range(0, 31, 5):
            match = best_match(Excerpt(music(number)[start * RATE :][: 10 * RATE]).many(), records)
            found = None
            if is_candidate(match, Rule()):
                song = Song(id=match.number, duration=40)
                found = RecognisedSong.of(
                    song, start=start, offset=match.offset_s, matches=match.matches, ratio=match.ratio
                )
            assert named.consider(found) is None
