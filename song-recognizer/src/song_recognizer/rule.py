"""When a song is named: what one window must show, and what several windows together. Pure."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import numpy as np

from parlando.domain.audio import Pcm16
from parlando.domain.songs import RecognisedSong
from song_recognizer.matching import Match

SILENCE: Final = 30.0
"""Root mean square of 16-bit samples below which a window is silent: -61 dB of full scale."""


@dataclass(frozen=True, slots=True)
class Rule:
    """The thresholds.

    `matches`, `ratio`: least of one window; `alone`: matches with which one window suffices (for files).
    `began_s`: greatest difference of the moments at which the song began, as two windows find it.
    `windows`: number of last windows among which another one must show the same song.
    """

    matches: int = 10
    ratio: float = 1.5
    alone: int = 14
    began_s: float = 0.5
    windows: int = 2


def is_candidate(match: Match | None, rule: Rule) -> bool:
    """Whether a window's best match may be a song that is played."""
    return match is not None and match.matches >= rule.matches and match.ratio >= rule.ratio


def is_silent(pcm: Pcm16) -> bool:
    """Whether a window is silent."""
    return not len(pcm) or float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) < SILENCE


class NamedOnce:
    """Decides which candidates are named: a song that several windows show, and only once while it is played.

    `named`: the songs that were named before.
    """

    def __init__(self, rule: Rule, named: Iterable[RecognisedSong] = ()) -> None:
        self._rule = rule
        # Second up to which each song isn't named again: its end, if it is played to its end.
        self._until = {song.song_id: song.ends for song in named}
        self._last: deque[RecognisedSong | None] = deque(maxlen=rule.windows)

    def consider(self, candidate: RecognisedSong | None) -> RecognisedSong | None:
        """The song to name after a window with this candidate; its `start` is that of the first window."""
        first = next(
            (each for each in self._last if candidate and each and self._same(each, candidate)), None
        )
        self._last.append(candidate)
        if candidate is None or first is None:
            return None
        if candidate.start <= self._until.get(candidate.song_id, -1.0):
            return None
        self._until[candidate.song_id] = candidate.ends
        return candidate.model_copy(update={"start": first.start, "offset": first.offset})

    def _same(self, one: RecognisedSong, other: RecognisedSong) -> bool:
        return one.song_id == other.song_id and abs(one.began - other.began) <= self._rule.began_s
