"""A hot folder: the recordings in it, which of them are completely written, and which are finished."""

import fcntl
import json
import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Final, Self

from parlando.cli.media import AUDIO, VIDEO
from parlando.client import ClientError

MOST_FILES: Final = 100_000
"""Recordings in a folder, and entries in a journal."""
JOURNAL: Final = ".parlando-transcribed.jsonl"


@dataclass(frozen=True, slots=True)
class Version:
    """One content of a file. `size`: bytes; `changed_ns`: time of the last change, ns since 1970."""

    size: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "Version | None":
        """The present version; None if the file is gone."""
        try:
            found = path.stat()
        except OSError:
            return None
        return cls(found.st_size, found.st_mtime_ns)


def recordings(folder: Path, *, without: Collection[Path] = ()) -> dict[str, Version]:
    """The audio and video files of a folder and its subfolders: relative path → version.

    Hidden files and folders are left out, and the folders `without`.

    Raises
    ------
    ClientError
        if there are more than `MOST_FILES`.

    """
    found: dict[str, Version] = {}
    for path in _media(folder, {each.absolute() for each in without}):
        if (version := Version.of(path)) is not None:
            found[path.relative_to(folder).as_posix()] = version
        if len(found) > MOST_FILES:
            raise ClientError("too_many_files", f"More than {MOST_FILES} recordings are in {folder}")
    return found


def _media(folder: Path, without: set[Path]) -> Iterator[Path]:
    for place, folders, names in os.walk(folder):
        path = Path(place)
        folders[:] = sorted(
            name for name in folders if name[0] != "." and (path / name).absolute() not in without
        )
        for name in sorted(names):
            if name[0] != "." and Path(name).suffix.lower() in AUDIO | VIDEO:
                yield path / name


class Settling:
    """Tells which files are completely written: those that haven't changed for `settle_s` seconds."""

    def __init__(self, settle_s: float) -> None:
        self._settle_s = settle_s
        self._seen: dict[str, tuple[Version, float]] = {}

    def settled(self, files: Mapping[str, Version], now: float) -> list[str]:
        """The names of those `files` that are complete and not empty. `now`: seconds of any clock."""
        self._seen = {
            name: seen
            if (seen := self._seen.get(name)) is not None and seen[0] == version
            else (version, now)
            for name, version in files.items()
        }
        return [
            name
            for name, (version, since) in self._seen.items()
            if version.size and now - since >= self._settle_s
        ]


class Journal:
    """The finished recordings, in a file of JSON lines that survives restarts. Use as a context manager.

    It has the newest `MOST_FILES` entries. A process that has it open excludes others.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._entries: dict[str, dict[str, Any]] = {}
        self._file: IO[str] | None = None

    def __enter__(self) -> Self:
        """Open it. Raises `ClientError` if another process has it open."""
        self._file = self._path.open("a+", encoding="utf-8")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise ClientError("watched", f"Another process has {self._path} open") from error
        self._file.seek(0)
        count, line = 0, "\n"
        for line in self._file:
            self._read(line)
            count += 1
        if not line.endswith("\n"):
            self._file.write("\n")
        if count > 2 * MOST_FILES:
            self._file.seek(0)
            self._file.truncate()
            self._file.writelines(map(_line, self._entries.values()))
            self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self, line: str) -> None:
        try:
            entry = json.loads(line)
            self._keep(str(entry["file"]), {**entry, "size": int(entry["size"])})
        except (ValueError, KeyError, TypeError):
            return  # of a process that was killed while it wrote

    def _keep(self, name: str, entry: dict[str, Any]) -> None:
        self._entries.pop(name, None)
        self._entries[name] = entry
        while len(self._entries) > MOST_FILES:
            del self._entries[next(iter(self._entries))]

    def has(self, name: str, version: Version) -> bool:
        """Whether this version of a recording is finished."""
        entry = self._entries.get(name)
        return entry is not None and (entry["size"], entry.get("changed_ns")) == (
            version.size,
            version.changed_ns,
        )

    def result_of(self, name: str) -> str | None:
        """The name of the result of a recording's last version; None if there is none."""
        result = self._entries.get(name, {}).get("result")
        return str(result) if result else None

    def add(
        self, name: str, version: Version, *, result: str | None = None, error: str | None = None
    ) -> None:
        """Note that a version is finished, with the name of its result or the reason why there is none."""
        assert self._file is not None
        entry = {"file": name, "size": version.size, "changed_ns": version.changed_ns}
        entry |= {"result": result} if result else {"error": error}
        self._keep(name, entry)
        self._file.write(_line(entry))
        self._file.flush()
        os.fsync(self._file.fileno())


def _line(entry: Mapping[str, Any]) -> str:
    return json.dumps(entry, ensure_ascii=False) + "\n"


def free_name(folder: Path, name: str, suffix: str, *, own: str | None) -> str:
    """The name of a recording's result in `folder`: one that no file has, or that of its result so far.

    `film.srt` for `film.mkv`; if there is one already, `film.mkv.srt`, then `film.mkv-2.srt` and so on.
    `own`: the name of its last result.
    """
    if own and own.endswith(f".{suffix}"):
        return own
    path = Path(name)
    tried = path.with_suffix(f".{suffix}")
    number = 1
    while (folder / tried).exists():
        tried = path.with_name(f"{path.name}{'' if number == 1 else f'-{number}'}.{suffix}")
        number += 1
    return tried.as_posix()
