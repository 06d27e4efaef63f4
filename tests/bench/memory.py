"""Memory and disk of a cluster over time."""

import os
import threading
import time
from pathlib import Path
from typing import Final

import psutil

from support.cluster import Cluster

EVERY_S: Final = 2.0  # the measurements take CPU time themselves


def folder_bytes(folder: Path) -> int:
    """Bytes of all files in a folder, also of those that are deleted meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.stat(os.path.join(place, name)).st_blocks * 512
            except OSError:
                continue
    return total


class Watch(threading.Thread):
    """Memory of each process (with its children), of Redis, and bytes of the blob store, over time."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(daemon=True)
        self.seen: dict[str, list[float]] = {}
        self.going = True
        groups = {
            "gateway": cluster.gateways,
            "audio-processor": cluster.processors,
            "transcriber": cluster.transcribers,
        }
        self._processes = {name: psutil.Process(ours[0].process.pid) for name, ours in groups.items() if ours}
        self._store, self._blobs = cluster.store(), cluster.blobs

    def run(self) -> None:
        while self.going:
            for name, process in self._processes.items():
                size = process.memory_info().rss
                for child in process.children():
                    try:
                        size += child.memory_info().rss
                    except psutil.NoSuchProcess:
                        continue
                self._add(f"memory of the {name}", size)
            self._add("memory in Redis", self._store.info("memory")["used_memory"])
            self._add("files of the blob store", folder_bytes(self._blobs))
            time.sleep(EVERY_S)

    def _add(self, name: str, size: int) -> None:
        self.seen.setdefault(name, []).append(size / (1 << 20))

    def stop(self) -> None:
        """Stop measuring."""
        self.going = False
        self.join()

    def rows(self) -> list[tuple[str, str]]:
        """Each at a third, at two thirds, and the most, in MB."""
        return [
            (f"{name}, MB: at a third, at two thirds, most", " / ".join(f"{mb:.0f}" for mb in found))
            for name, seen in self.seen.items()
            for found in [(seen[len(seen) // 3], seen[len(seen) * 2 // 3], max(seen))]
        ]
