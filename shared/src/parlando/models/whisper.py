"""Finds the weights of a Whisper model for the engines `faster-whisper` and `whisper`."""

import fcntl
from pathlib import Path

import structlog

from parlando.errors import ModelError
from parlando.models.catalogue import MODELS, WHISPER, Model, whisper_model
from parlando.models.openai_checkpoint import convert
from parlando.models.selection import openai_cached
from parlando.models.store import ModelStore

log = structlog.get_logger(part="models")


def ctranslate2_folder(name: str) -> str:
    """What faster-whisper shall load for `name`.

    A model of the catalogue, such as `base`, is its folder in the store. Anything else stays as it is: a
    path, or a repository of the hub.

    Raises
    ------
    ModelError
        if the model is not in the store; the message names the command that fetches it.

    """
    model = _known(name)
    return name if model is None else str(ModelStore().path(model))


def openai_checkpoint(name: str) -> str:
    """What openai-whisper shall load for `name`.

    For a model of the catalogue: its size if openai-whisper has downloaded that before, else the checkpoint
    converted from the model in the store. Anything else stays as it is: a path, or a size that only
    openai-whisper knows.

    Raises
    ------
    ModelError
        if the model is not in the store, or can't be converted.

    """
    model = _known(name)
    if model is None:
        return name
    if openai_cached(name).is_file():
        return name.removeprefix("whisper-")
    return str(converted(model))


def converted(model: Model) -> Path:
    """The checkpoint of a Whisper model in the store. It is converted once, by one process at a time.

    Raises
    ------
    ModelError
        if the model is not in the store, or can't be converted.

    """
    folder = ModelStore().path(model)
    checkpoint = folder / f"{model.name}.pt"
    if checkpoint.is_file():
        log.info("model.checkpoint", model=model.name, path=str(checkpoint))
        return checkpoint
    try:
        with (folder / ".converting").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not checkpoint.is_file():
                log.info("model.converting", model=model.name, source=str(folder), target=str(checkpoint))
                convert(folder, checkpoint)
    except OSError as error:
        raise ModelError(
            f"{checkpoint} can't be written: {error}. Write it elsewhere with: parlando models convert "
            f"{model.name} FILE.pt, and set WHISPER_MODEL=FILE.pt"
        ) from error
    return checkpoint


def _known(name: str) -> Model | None:
    """The Whisper model of the catalogue called `name`."""
    other = MODELS.get(name)
    if other is not None and other.engine != WHISPER:
        raise ModelError(f"{name} is a model of the engine {other.engine}, not a Whisper model")
    return whisper_model(name)
