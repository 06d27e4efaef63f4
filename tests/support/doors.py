"""What tests of several live protocols share: audio with known words, and the session behind a connection."""

import asyncio

import numpy as np

from support.cluster import Cluster
from support.perfect import script, silence, speak

SPOKEN = np.concatenate([speak(6), silence(1), speak(5, first=6), silence(1), speak(4, first=11)])
"""int16 audio of three utterances for the perfect engine."""
WORDS = script(0, 15)
"""Its words."""
FRAME = 1600  # samples, a tenth of a second


def frames(pcm: np.ndarray, size: int = FRAME) -> list[bytes]:
    """The bytes of audio in messages of `size` samples."""
    return [pcm[at : at + size].tobytes() for at in range(0, len(pcm), size)]


def sessions(cluster: Cluster) -> set[str]:
    """The ids of all sessions in a cluster's Redis."""
    with cluster.store() as store:
        return {key.rpartition("session:")[2] for key in store.scan_iter("stt:{0}:session:*")}


async def kill_owner(cluster: Cluster, before: set[str]) -> str:
    """Kill the transcriber of the only session that is new since `before`, start another. Returns its id."""
    async with asyncio.timeout(600):
        while True:
            new = sessions(cluster) - before
            if new and (owner := cluster.owner(min(new))) is not None:
                break
            await asyncio.sleep(0.05)
    [sid] = new
    owner.kill()
    cluster.add_transcriber()
    return sid
