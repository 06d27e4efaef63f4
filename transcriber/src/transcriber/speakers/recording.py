"""The speakers of a whole recording. Pure."""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from parlando.domain.audio import Float32
from transcriber.speakers.clustering import Labels, SpeakerCount, centroids, cluster, numbered, smoothed

CLUSTERED: Final = 2400
"""Most windows that are clustered, some 30 minutes of speech; others go to the nearest speaker."""


def speakers_of(
    vectors: Float32, seconds: Float32, groups: NDArray[np.integer], *, count: SpeakerCount | None = None
) -> Labels:
    """The speakers of all windows, numbered in the order in which they first speak.

    `vectors`: unit embeddings, shape (n, d). `seconds`: how much speech each stands for. `groups`: the
    stretch of speech of each.
    """
    if len(vectors) <= CLUSTERED:
        return numbered(smoothed(cluster(vectors, seconds, count=count), groups))
    chosen = np.linspace(0, len(vectors) - 1, CLUSTERED).astype(int)
    labels = cluster(vectors[chosen], seconds[chosen], count=count)
    nearest = np.argmax(vectors @ centroids(vectors[chosen], seconds[chosen], labels).T, axis=1)
    return numbered(smoothed(nearest, groups))
