"""Remembers on disk where unfinished uploads are, so that the next run of a program continues them."""

import contextlib
import json
import os
import time
from hashlib import sha256
from pathlib import Path
from typing import Final

KEPT_S: Final = 7 * 24 * 3600.0
"""Seconds after which an entry is removed; no gateway keeps an unfinished upload longer."""


def cache_folder() -> Path:
    """The user's cache folder of uploads (XDG base directories)."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "parlando" / "uploads"


class UploadJournal:
    """A folder with a small file per unfinished upload, for one gateway and API key.

    It only saves work: entries that can't be read or written are ignored.
    """

    def __init__(self, folder: Path, *, url: str, api_key: str | None) -> None:
        self._folder = folder
        self._owner = f"{url}\n{api_key or ''}"

    def address(self, path: Path) -> str | None:
        """The address of a file's upload; None if there is none, or if the file has changed since then."""
        try:
            entry = json.loads(self._entry(path).read_text())
            if entry["version"] == _version(path):
                return str(entry["address"])
        except (OSError, ValueError, KeyError, TypeError):
            pass
        return None

    def keep(self, path: Path, address: str | None) -> None:
        """Remember the address of a file's upload, or with None forget it."""
        with contextlib.suppress(OSError):
            entry = self._entry(path)
            if address is None:
                entry.unlink(missing_ok=True)
                return
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._remove_old()
            written = entry.with_suffix(".new")
            written.write_text(
                json.dumps({"file": str(path.absolute()), "version": _version(path), "address": address})
            )
            written.replace(entry)

    def _entry(self, path: Path) -> Path:
        name = sha256(f"{self._owner}\n{path.absolute()}".encode()).hexdigest()[:32]
        return self._folder / f"{name}.json"

    def _remove_old(self) -> None:
        for entry in self._folder.iterdir():
            if entry.suffix in (".json", ".new") and time.time() - entry.stat().st_mtime > KEPT_S:
                entry.unlink(missing_ok=True)


def _version(path: Path) -> list[int]:
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]
