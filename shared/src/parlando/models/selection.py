"""Which engines the settings select, and what they need: models of the catalogue, and pip packages.

`make run` and the transcriber's image fetch what `needs` names.
"""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import Field

from parlando.errors import ModelError
from parlando.models.catalogue import (
    ENTITIES_EN,
    MODELS,
    MOONSHINE_TINY,
    SENTENCES,
    WHISPER,
    Model,
    whisper_model,
)
from parlando.settings import ServiceSettings

ANALYZER: Final = "analyzer"  # its service, and what is installed for it
DEFAULT_WHISPER: Final = "base"  # of the Whisper engines, if WHISPER_MODEL is not set

EXTRAS: Final[dict[str, str | None]] = {
    "moonshine": None,
    "whisper": "whisper",
    "faster-whisper": "faster-whisper",
    "openai": "openai",
}
"""Engine → the extra of the package parlando-transcriber that it needs."""


class EngineSettings(ServiceSettings):
    """The engine of one transcriber."""

    stt_engine: str = Field(
        "auto",
        description="`auto`, `moonshine`, `whisper`, `faster-whisper`, `openai`, or your own "
        "`package.module:factory`",
    )
    whisper_model: str | None = Field(
        None,
        description="Whisper model of the catalogue (`tiny.en`, `base` … `large-v3`, `turbo`; "
        "`parlando models list`) or a path; makes `auto` choose Whisper",
    )


class ClusterEngines(EngineSettings):
    """The engines of the transcribers that `make run` starts, and whether it starts an analyzer."""

    analyzer: bool = Field(
        False,
        description="Whether `make run` installs and starts an analyzer (docs/analysis.md): 250 MB more",
    )

    engines: str = Field(
        "",
        description="Engines that `make run` starts, separated by commas: names of engines, or of models "
        "of the catalogue (`moonshine,whisper-base`); empty for the one that `STT_ENGINE` selects",
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """One engine with its model, in the terms of `EngineSettings`."""

    stt_engine: str
    whisper_model: str | None = None


@dataclass(frozen=True, slots=True)
class Needs:
    """What has to be on the machine. `extras`: of the package parlando-transcriber, and `analyzer`."""

    models: tuple[Model, ...]
    extras: tuple[str, ...]


def selections(settings: ClusterEngines) -> tuple[Selection, ...]:
    """The engines that the settings select, in their order.

    Raises
    ------
    ModelError
        if an entry of ENGINES names neither an engine nor a model of the catalogue.

    """
    entries = [entry.strip() for entry in settings.engines.split(",") if entry.strip()]
    if not entries:
        return (Selection(settings.stt_engine, settings.whisper_model),)
    return tuple(_selection(entry, settings) for entry in entries)


def _selection(entry: str, settings: EngineSettings) -> Selection:
    if entry in EXTRAS or ":" in entry:
        return Selection(entry, settings.whisper_model)
    if entry in MODELS and MODELS[entry].engine in EXTRAS and MODELS[entry].engine != WHISPER:
        return Selection(MODELS[entry].engine)
    model = whisper_model(entry)
    if model is None:
        raise ModelError(
            f"ENGINES names {entry!r}, which is neither an engine ({', '.join(EXTRAS)}) nor a model of the "
            f"catalogue ({', '.join(MODELS)})"
        )
    return Selection(WHISPER, model.name)


def needs(chosen: Iterable[Selection], *, analyzer: bool = False) -> Needs:
    """What the engines need, and the analyzer if there is one. Each model and extra is named once."""
    models: dict[str, Model] = {}
    extras: dict[str, None] = {}
    for selection in chosen:
        engine = _engine(selection)
        extra = EXTRAS.get(engine)
        if extra is not None:
            extras[extra] = None
        model = _model(engine, selection.whisper_model or DEFAULT_WHISPER)
        if model is not None:
            models[model.name] = model
    if analyzer:
        extras[ANALYZER] = None
        models |= {model.name: model for model in (ENTITIES_EN, SENTENCES)}
    return Needs(tuple(models.values()), tuple(extras))


def _engine(selection: Selection) -> str:
    """The engine that `auto` means once everything that it needs is installed."""
    if selection.stt_engine != "auto":
        return selection.stt_engine
    if selection.whisper_model is None:
        return "moonshine"
    return "whisper" if selection.whisper_model.endswith(".pt") else WHISPER


def _model(engine: str, whisper: str) -> Model | None:
    """The model of the catalogue that an engine needs, if it does."""
    match engine:
        case "moonshine":
            return MOONSHINE_TINY
        case "faster-whisper":
            return whisper_model(whisper)
        case "whisper" if not openai_cached(whisper).is_file():
            return whisper_model(whisper)
    return None


def openai_cached(size: str) -> Path:
    """Where openai-whisper stores the checkpoint of a size that it has downloaded."""
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    name = size.removeprefix("whisper-")
    file = {"large": "large-v3", "turbo": "large-v3-turbo"}.get(name, name)
    return Path(cache) / "whisper" / f"{file}.pt"
