"""The model store: a cache folder of model files, downloaded from their sources and checked by SHA-256."""

import os
import tempfile
from pathlib import Path

from parlando.errors import ModelError
from parlando.models.catalogue import MODELS, Model, ModelFile
from parlando.models.download import Download, Progress, no_progress


def default_cache() -> Path:
    """The folder named by PARLANDO_MODELS, else one in the user's cache folder."""
    chosen = os.environ.get("PARLANDO_MODELS")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "parlando" / "models"


def find(name: str) -> Model:
    """The model called `name`, or the Whisper model of the size `name`.

    Raises `ModelError` if the catalogue has none.
    """
    model = MODELS.get(name) or MODELS.get(f"whisper-{name}")
    if model is None:
        raise ModelError(f"No model {name!r} is known; the catalogue has: {', '.join(MODELS)}")
    return model


class ModelStore:
    """Models in one cache folder, each in a subfolder of its name."""

    def __init__(self, cache: Path | None = None) -> None:
        self.cache = cache or default_cache()

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

    def pull(self, model: Model, progress: Progress = no_progress) -> Path:
        """Download the missing files of a model and return its folder.

        Raises
        ------
        ModelError
            if all sources of a file fail; the message has the error of each.

        """
        folder = self.folder(model)
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=self.cache) as scratch:
            download = Download(Path(scratch), progress)
            for file in model.files:
                target = folder / file.name
                if not _is_complete(target, file):
                    os.replace(download.fetch(file), target)
        return folder


def _is_complete(path: Path, file: ModelFile) -> bool:
    """Whether the file exists with its full size. It is never stored before it is complete."""
    return path.is_file() and file.size in (None, path.stat().st_size)
