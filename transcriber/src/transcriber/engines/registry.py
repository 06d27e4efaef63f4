"""The table of engines, and the selection of one."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from parlando import plugins
from parlando.errors import EngineError, ModelError
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.selection import DEFAULT_WHISPER, openai_cached
from parlando.models.store import ModelStore
from parlando.models.whisper import ctranslate2_folder, openai_checkpoint
from transcriber.engines.base import Engine
from transcriber.settings import TranscriberSettings


def _moonshine(settings: TranscriberSettings) -> Engine:
    from transcriber.engines.moonshine import MoonshineEngine

    return MoonshineEngine(ModelStore().path(MOONSHINE_TINY))


def _whisper(settings: TranscriberSettings) -> Engine:
    try:
        from transcriber.engines.whisper import WhisperEngine
    except ImportError as error:
        raise EngineError(
            f"Engine whisper needs the packages openai-whisper and torch ({error}): "
            "pip install -e './transcriber[whisper]'"
        ) from error
    return WhisperEngine(openai_checkpoint(settings.whisper_model or DEFAULT_WHISPER), device=settings.device)


def _faster_whisper(settings: TranscriberSettings) -> Engine:
    try:
        from transcriber.engines.faster_whisper import FasterWhisperEngine
    except ImportError as error:
        raise EngineError(
            f"Engine faster-whisper needs the package faster-whisper ({error}): "
            "pip install -e './transcriber[faster-whisper]'"
        ) from error
    model = ctranslate2_folder(settings.whisper_model or DEFAULT_WHISPER)
    return FasterWhisperEngine(model, device=settings.device)


def _openai(settings: TranscriberSettings) -> Engine:
    try:
        from transcriber.engines.openai import OpenAIEngine
    except ImportError as error:
        raise EngineError(
            f"Engine openai needs the package openai ({error}): pip install -e './transcriber[openai]'"
        ) from error
    return OpenAIEngine(
        settings.openai_base_url,
        settings.openai_api_key,
        settings.openai_model,
        timeout_s=settings.openai_timeout_s,
        retries=settings.openai_retries,
        min_billed_s=settings.openai_least_billed_s,
    )


ENGINES: Final[dict[str, Callable[[TranscriberSettings], Engine]]] = {
    "moonshine": _moonshine,
    "whisper": _whisper,
    "faster-whisper": _faster_whisper,
    "openai": _openai,
}
"""Name → factory. To add an engine, write one file and add one line here, or name `package.module:factory`
in `STT_ENGINE`."""


def load(settings: TranscriberSettings) -> tuple[Engine, str]:
    """The engine that the settings select, and the reason of the choice for `/health` and the log.

    Raises
    ------
    EngineError, ModelError
        if the engine can't be loaded. There is no fallback to another engine.

    """
    name = settings.stt_engine
    if ":" in name:
        engine: Engine = plugins.load(name)(settings)
        return engine, f"STT_ENGINE={name}"
    if name == "auto":
        name, why = _choose(settings)
    elif name in ENGINES:
        why = f"STT_ENGINE={name}"
    else:
        raise EngineError(f"No engine {name!r} is known; there are: auto, {', '.join(ENGINES)}")
    try:
        return ENGINES[name](settings), why
    except ModelError as error:
        raise ModelError(f"Engine {name} ({why}) can't be loaded: {error}") from error


def _choose(settings: TranscriberSettings) -> tuple[str, str]:
    if settings.whisper_model:
        setting = f"WHISPER_MODEL={_shown(settings.whisper_model)}"
        if settings.whisper_model.endswith(".pt"):
            return "whisper", f"{setting} is an openai-whisper checkpoint"
        if find_spec("faster_whisper"):
            return "faster-whisper", f"{setting}, and faster-whisper is installed"
        return "whisper", setting
    if find_spec("whisper") and openai_cached(DEFAULT_WHISPER).is_file():
        return "whisper", "openai-whisper has downloaded base.pt on this machine"
    return "moonshine", "the embedded default; set WHISPER_MODEL for Whisper"


def _shown(model: str) -> str:
    """The model's name for `/health`, which is public: only the last part of a path."""
    return Path(model).name if Path(model).is_absolute() else model
