"""Folders of the user; without an object store, which not every image has."""

import os
from pathlib import Path


def data_folder(name: str) -> Path:
    """The user's data folder `parlando/<name>` (XDG base directories)."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "parlando" / name
