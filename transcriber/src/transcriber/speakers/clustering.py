"""Clusters embeddings of windows into speakers. Pure."""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import pdist

from parlando.domain.audio import Float32
from transcriber.speakers.embedding import unit

THRESHOLD: Final = 0.22
"""Mean cosine of two clusters of centred embeddings below which they are two speakers."""
SAME_VOICE: Final = 0.4
"""Mean cosine of two clusters from which on they are one voice, whatever number of speakers is expected."""
LEAST_S: Final = 1.4
"""Least speech of a speaker. Clusters with less belong to the nearest one with more."""
LEAST_SHARE: Final = 0.04
"""Least share of a speaker in all speech, as far as it is no more than `MOST_NEEDED_S`. In noise, the number
of clusters without a speaker of their own grows with the speech."""
MOST_NEEDED_S: Final = 2.5
_PASSES: Final = 2  # of assigning windows to the nearest centroid

Labels = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SpeakerCount:
    """How many speakers there may be; None for any number."""

    least: int | None = None
    most: int | None = None

    @classmethod
    def of(cls, exact: int | None, least: int | None, most: int | None) -> "SpeakerCount":
        """The bounds that a client's options tell. `exact` goes before the others."""
        return cls(least, most) if exact is None else cls(exact, exact)


def name(speaker: int | None) -> str | None:
    """The label of a speaker's number, as in `SPEAKER_00`."""
    return None if speaker is None else f"SPEAKER_{speaker:02d}"


def cluster(
    vectors: Float32,
    seconds: Float32,
    *,
    count: SpeakerCount | None = None,
    threshold: float = THRESHOLD,
    complete: bool = True,
) -> Labels:
    """Labels of windows, numbered from 0 in the order of their first window.

    `vectors`: unit embeddings, shape (n, d). `seconds`: how much speech each stands for, shape (n,).
    Average-linkage clustering by cosine, cut at `threshold` or so that `count` is kept.
    `complete`: False if more speech follows: then voices that are one (`SAME_VOICE`) aren't divided to reach
    the least number of speakers, because the others may not have spoken yet.
    """
    count = count or SpeakerCount()
    if len(vectors) < 2 or count.most == 1:
        return np.zeros(len(vectors), np.int64)
    tree = linkage(np.clip(pdist(vectors, "cosine"), 0.0, 2.0), "average")
    needed = max(LEAST_S, min(LEAST_SHARE * float(seconds.sum()), MOST_NEEDED_S))
    labels = _absorbed(vectors, seconds, numbered(fcluster(tree, 1 - threshold, "distance")), needed)
    found = labels.max() + 1
    if count.most is not None and found > count.most:
        labels = _cut(tree, vectors, seconds, count.most)
    least = min(count.least or 1, len(vectors))
    if found < least and (complete or tree[1 - least, 2] > 1 - SAME_VOICE):
        labels = _cut(tree, vectors, seconds, least)
    for _ in range(_PASSES):
        labels = numbered(np.argmax(vectors @ centroids(vectors, seconds, labels).T, axis=1))
    return labels


def centroids(vectors: Float32, seconds: Float32, labels: Labels) -> Float32:
    """The unit centroid of each label, shape (labels, d). Labels must be 0 … k."""
    sums = np.zeros((labels.max() + 1, vectors.shape[1]), np.float32)
    np.add.at(sums, labels, vectors * seconds[:, None])
    return unit(sums)


def _cut(tree: NDArray[np.float64], vectors: Float32, seconds: Float32, speakers: int) -> Labels:
    """The first cut of the tree with this number of speakers with `LEAST_S` of speech; else the last cut."""
    labels = np.zeros(len(vectors), np.int64)
    for clusters in range(speakers, min(len(vectors), 4 * speakers) + 1):
        labels = _absorbed(vectors, seconds, numbered(fcluster(tree, clusters, "maxclust")), LEAST_S)
        if labels.max() + 1 >= speakers:
            break
    return labels


def _absorbed(vectors: Float32, seconds: Float32, labels: Labels, needed: float) -> Labels:
    """The labels after clusters with less than `needed` seconds went to the nearest larger one."""
    totals = np.bincount(labels, weights=seconds)
    large = np.flatnonzero(totals >= needed)
    if not len(large):
        large = np.array([int(totals.argmax())])
    nearest = large[np.argmax(vectors @ centroids(vectors, seconds, labels)[large].T, axis=1)]
    return numbered(np.where(np.isin(labels, large), labels, nearest))


def numbered(labels: NDArray[np.integer]) -> Labels:
    """The labels numbered from 0 in the order in which they appear."""
    _, first, inverse = np.unique(labels, return_index=True, return_inverse=True)
    order = np.empty(len(first), np.int64)
    order[np.argsort(first)] = np.arange(len(first))
    return np.asarray(order[inverse], np.int64)


def smoothed(labels: Labels, groups: NDArray[np.integer]) -> Labels:
    """The labels without single windows that differ from both neighbours of their group."""
    found = labels.copy()
    for n in range(1, len(found) - 1):
        same_group = groups[n - 1] == groups[n] == groups[n + 1]
        if same_group and found[n - 1] == found[n + 1] != found[n]:
            found[n] = found[n - 1]
    return found
