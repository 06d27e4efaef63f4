"""The speakers of one session, re-clustered at each final. Its state is bounded. Pure.

Speakers keep their numbers: a cluster gets the number of the speaker with whom it shares most speech. The
newest `RECENT` windows are kept, and of older ones `EXAMPLES` for each speaker.
"""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from parlando.domain.audio import Float32
from parlando.domain.known_speakers import Recognised
from transcriber.speakers.clustering import Labels, SpeakerCount, centroids, cluster, smoothed
from transcriber.speakers.embedding import DIMENSIONS, unit
from transcriber.speakers.known import KnownVoices
from transcriber.speakers.voices import quantised, restored
from transcriber.speakers.windows import Span

RECENT: Final = 240
EXAMPLES: Final = 24
PIECES: Final = 2000
"""Newest segments whose speakers may still be revised."""


@dataclass(slots=True)
class _Piece:
    """A published segment: its speaker now, and the one that clients know. None: unknown.

    `shown_name`: the name of the known speaker whom clients know.
    """

    segment: int
    speaker: int | None
    shown: int | None
    shown_name: str | None = None


class LiveSpeakers:
    """See the module."""

    def __init__(self) -> None:
        self._vectors: Float32 = np.zeros((0, DIMENSIONS), np.float32)
        self._seconds: Float32 = np.zeros(0, np.float32)
        self._groups: Labels = np.zeros(0, np.int64)  # the utterance of each window
        self._places: Labels = np.zeros(0, np.int64)  # the published segment of each window; -1: none yet
        self._labels: Labels = np.zeros(0, np.int64)
        self._speakers = 0
        self._next_group = 0
        self._pieces: list[_Piece] = []
        self._people: dict[int, Recognised] = {}  # the known speakers among the speakers

    @property
    def speakers(self) -> int:
        """The number of speakers so far, also of those that were merged into another one."""
        return self._speakers

    def add(
        self, windows: Sequence[Span], vectors: Float32, *, count: SpeakerCount | None = None
    ) -> list[int]:
        """Add the windows of an utterance, and cluster all. Returns their speakers."""
        added = len(windows)
        self._vectors = np.concatenate([self._vectors, vectors.astype(np.float32)])
        self._seconds = np.concatenate([self._seconds, [w.seconds for w in windows]]).astype(np.float32)
        self._groups = np.concatenate([self._groups, np.full(added, self._next_group)])
        self._places = np.concatenate([self._places, np.full(added, -1)])
        self._next_group += 1
        found = cluster(self._vectors, self._seconds, count=count, complete=False)
        self._take(smoothed(found, self._groups), count.most if count else None)
        return [int(label) for label in self._labels[len(self._labels) - added :]]

    @property
    def people(self) -> dict[int, Recognised]:
        """The known speakers who were recognised, by the number of their speaker."""
        return self._people

    def recognise(self, known: KnownVoices | None) -> None:
        """Compare the voices of the speakers with those of known speakers.

        None: these are unknown at present, and who was recognised before keeps the name.
        """
        if known is None:
            heard = set(self._labels.tolist())
            self._people = {n: person for n, person in self._people.items() if n in heard}
            return
        if not known.names or not len(self._labels):
            self._people = {}
            return
        present = np.unique(self._labels)
        dense = np.searchsorted(present, self._labels)
        voices = centroids(self._vectors, self._seconds, dense)
        found = known.recognised(voices, np.bincount(dense, self._seconds).tolist())
        self._people = {int(present[number]): person for number, person in found.items()}

    def place(self, segments: Sequence[tuple[int, Sequence[int]]]) -> None:
        """Note which windows of the last utterance became which segments: (segment, numbers of windows)."""
        utterance = np.flatnonzero(self._groups == self._next_group - 1)
        for segment, numbers in segments:
            self._places[utterance[list(numbers)]] = segment
            speaker = self._majority(self._places == segment)
            self._pieces.append(_Piece(segment, speaker, speaker, self._name(speaker)))
        self._thin()

    def unplaced(self, segment: int, speaker: int | None = None) -> None:
        """Note a published segment whose windows come later, with `add` and `belated`.

        `speaker`: the one that was published with it.
        """
        self._pieces.append(_Piece(segment, speaker, speaker, self._name(speaker)))

    def belated(self, segment: int) -> None:
        """Note that the windows added last are those of a segment that was published without a speaker."""
        self._places[self._groups == self._next_group - 1] = segment
        for piece in self._pieces:
            if piece.segment == segment:
                piece.speaker = self._majority(self._places == segment)
        self._thin()

    def revisions(self) -> list[tuple[int, int | None]]:
        """Segments whose speakers, or their names, differ from what clients know; counts them as known."""
        now = [(piece, piece.speaker, self._name(piece.speaker)) for piece in self._pieces]
        changed = [each for each in now if each[1:] != (each[0].shown, each[0].shown_name)]
        for piece, speaker, name in changed:
            piece.shown, piece.shown_name = speaker, name
        return [(piece.segment, speaker) for piece, speaker, _ in changed]

    def _name(self, speaker: int | None) -> str | None:
        person = None if speaker is None else self._people.get(speaker)
        return person.name if person else None

    def nearest(self, vectors: Float32) -> tuple[int, float]:
        """The speaker whose voice is nearest to the mean of unit vectors, and the cosine; (-1, 0) if none."""
        if not len(self._labels):
            return -1, 0.0
        present = np.unique(self._labels)
        dense = np.searchsorted(present, self._labels)
        cosines = centroids(self._vectors, self._seconds, dense) @ unit(vectors.mean(axis=0))
        best = int(np.argmax(cosines))
        return int(present[best]), float(cosines[best])

    # --- clusters -----------------------------------------------------------------------------

    def _take(self, clusters: Labels, most: int | None) -> None:
        """Number the clusters like the speakers before, and revise the segments.

        Numbers of speakers that were merged are given again only if there would be more than `most`.
        """
        known, count = len(self._labels), int(clusters.max()) + 1 if len(clusters) else 0
        shared = np.zeros((count, self._speakers))
        np.add.at(shared, (clusters[:known], self._labels), self._seconds[:known])
        numbers = np.full(count, -1)
        if self._speakers:
            for one, speaker in zip(*linear_sum_assignment(-shared), strict=True):
                if shared[one, speaker] > 0:
                    numbers[one] = speaker
        for one in np.flatnonzero(numbers < 0):
            free = np.setdiff1d(np.arange(self._speakers), numbers)
            if most is not None and self._speakers >= most and len(free):
                numbers[one] = free[0]
            else:
                numbers[one] = self._speakers
                self._speakers += 1
        before, self._labels = self._labels, numbers[clusters]
        self._revise(before)
        known_numbers = [n for piece in self._pieces for n in (piece.speaker, piece.shown) if n is not None]
        self._speakers = max([*known_numbers, *self._labels.tolist()], default=-1) + 1

    def _revise(self, before: Labels) -> None:
        """A segment has the speaker of most of its windows; without windows it follows its speaker's."""
        kept = set(self._places.tolist())
        moved: dict[int, int | None] = {}
        for piece in self._pieces:
            if piece.segment in kept:
                piece.speaker = self._majority(self._places == piece.segment)
            elif piece.speaker is not None:
                if piece.speaker not in moved:
                    old = np.concatenate(
                        [before == piece.speaker, np.zeros(len(self._labels) - len(before), bool)]
                    )
                    moved[piece.speaker] = self._majority(old)
                new = moved[piece.speaker]
                piece.speaker = piece.speaker if new is None else new

    def _majority(self, mask: NDArray[np.bool_]) -> int | None:
        if not mask.any():
            return None
        return int(np.argmax(np.bincount(self._labels[mask], weights=self._seconds[mask])))

    def _thin(self) -> None:
        """Drop windows beyond the bounds; those that stay stand for the speech of the dropped ones."""
        old = len(self._labels) - RECENT
        if old > 0:
            keep = np.ones(len(self._labels), bool)
            for speaker in np.unique(self._labels[:old]):
                places = np.flatnonzero(self._labels[:old] == speaker)
                if len(places) > EXAMPLES:
                    chosen = places[np.linspace(0, len(places) - 1, EXAMPLES).astype(int)]
                    share = self._seconds[places].sum() / self._seconds[chosen].sum()
                    keep[places], keep[chosen] = False, True
                    self._seconds[chosen] *= share
            for name in ("_vectors", "_seconds", "_groups", "_places", "_labels"):
                setattr(self, name, getattr(self, name)[keep])
        del self._pieces[:-PIECES]

    # --- state --------------------------------------------------------------------------------

    def dump(self) -> dict[str, Any]:
        """The state, JSON-able: vectors as int8, some 350 bytes a window."""
        return {
            "vectors": base64.b64encode(quantised(self._vectors)).decode(),
            "seconds": [round(float(each), 3) for each in self._seconds],
            "groups": self._groups.tolist(),
            "places": self._places.tolist(),
            "labels": self._labels.tolist(),
            "speakers": self._speakers,
            "next_group": self._next_group,
            "pieces": [[piece.segment, piece.speaker, piece.shown] for piece in self._pieces],
            "shown_names": {str(p.segment): p.shown_name for p in self._pieces if p.shown_name},
            "people": {str(number): person.model_dump() for number, person in self._people.items()},
        }

    @classmethod
    def load(cls, state: dict[str, Any]) -> "LiveSpeakers":
        """The speakers from a `dump`; none yet for an empty one."""
        found = cls()
        if state:
            found._vectors = restored(base64.b64decode(state["vectors"]))
            found._seconds = np.array(state["seconds"], np.float32)
            found._groups = np.array(state["groups"], np.int64)
            found._places = np.array(state["places"], np.int64)
            found._labels = np.array(state["labels"], np.int64)
            found._speakers = state["speakers"]
            found._next_group = state["next_group"]
            names, people = state.get("shown_names", {}), state.get("people", {})  # 0.1 stored none
            found._pieces = [
                _Piece(segment, speaker, shown, names.get(str(segment)))
                for segment, speaker, shown in state["pieces"]
            ]
            found._people = {int(number): Recognised(**person) for number, person in people.items()}
        return found
