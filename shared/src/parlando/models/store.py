"""The model store: a cache folder of model files, downloaded from their sources and checked by SHA-256."""

import os
import tempfile
from pathlib import Path

from parlando.errors import ModelError
from parlando.models.catalogue import Model, ModelFile
from parlando.models.download import Download, Note, Progress, no_note, no_progress
from parlando.models.hub import Hub


def default_cache() -> Path:
    """The folder named by PARLANDO_MODELS, else one in the user's cache folder."""
    chosen = os.environ.get("PARLANDO_MODELS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parlando" / "models"


class ModelStore:
    """Models in one cache folder, each in a subfolder of its name."""

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache or default_cache()
        self._hub = Hub()

    def folder(self, model: Model) -> Path:
        """The folder of the model's files, whether they exist or not."""
        return self.cache / model.name

    def has(self, model: Model) -> bool:
        """Whether every file exists with its full size. `pull` has checked the hashes when it wrote them."""
        return all(_is_complete(self.folder(model) / file.name, file) for file in model.files)

    def path(self, model: Model) -> Path:
        """The folder of a complete model. Raises `ModelError` if files are missing."""
        if not self.has(model):
            raise ModelError(
                f"Model {model.name} is not in {self.cache}; fetch it with: parlando models pull {model.name}"
            )
        return self.folder(model)

    def pull(self, model: Model, progress: Progress = no_progress, note: Note = no_note) -> Path:
        """Download the missing files of a model and return its folder.

        A hub that doesn't answer is asked once, for all models that this store pulls.

        Raises
        ------
        ModelError
            if all sources of a file fail; the message has the error of each.

        """
        folder = self.folder(model)
        if self.has(model):
            return folder  # also from a file system that is read-only
        self.cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            download = Download(Path(scratch), self._hub, progress, note)
            for file in model.files:
                target = folder / file.name
                if not _is_complete(target, file):
                    fetched = download.fetch(file)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(fetched, target)
        return folder


def _is_complete(path: Path, file: ModelFile) -> bool:
    """Whether the file exists with its full size. It is never stored before it is complete."""
    return path.is_file() and file.size in (None, path.stat().st_size)
