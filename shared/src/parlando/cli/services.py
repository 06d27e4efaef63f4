"""The services that `parlando up` runs: their processes, and what must be installed and fetched before."""

import sys
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import Final

from parlando.embedded.supervisor import Service
from parlando.errors import NotInstalledError
from parlando.models.catalogue import SILERO_VAD, Model
from parlando.models.selection import ANALYZER, ClusterEngines, Selection, needs, selections

MODULES: Final[dict[str, str]] = {
    "gateway": "api_gateway",
    "audio-processor": "audio_processor",
    "song-recognizer": "song_recognizer",
    ANALYZER: "analyzer",
    "transcriber": "transcriber",
}
"""Name of a service → its module, which `python -m` runs."""

_IMPORTED: Final[dict[str, str]] = {
    "whisper": "whisper",
    "faster-whisper": "faster_whisper",
    "openai": "openai",
}
"""Extra of parlando-transcriber → the module that it installs."""


def command(name: str) -> list[str]:
    """The command of a service, with the current interpreter."""
    return [sys.executable, "-m", MODULES[name]]


def check_packages(settings: ClusterEngines) -> None:
    """Check that the services and the packages of the selected engines are installed.

    Raises
    ------
    NotInstalledError
        that says what to install.
    ModelError
        if ENGINES names an unknown engine.

    """
    if missing := [name for name in wanted(settings) if find_spec(MODULES[name]) is None]:
        raise NotInstalledError(
            f"Not installed: {', '.join(missing)}. Install the services: {installation(settings)}"
        )
    for extra in missing_extras(settings):
        raise NotInstalledError(f"The selected engine needs a package: {installation_of(extra)}")


def wanted(settings: ClusterEngines) -> list[str]:
    """The names of the services that `parlando up` runs."""
    return [name for name in MODULES if name != ANALYZER or settings.analyzer]


def missing_extras(settings: ClusterEngines) -> list[str]:
    """The extras of parlando-transcriber that the selected engines need and that aren't installed.

    Raises
    ------
    ModelError
        if ENGINES names an unknown engine.

    """
    return [extra for extra in needs(selections(settings)).extras if find_spec(_IMPORTED[extra]) is None]


def installation(settings: ClusterEngines) -> str:
    """The command that installs all services."""
    return f"pip install 'parlando[{'all,analyzer' if settings.analyzer else 'all'}]'"


def installation_of(extra: str) -> str:
    """The command that installs an extra of parlando-transcriber."""
    return f"pip install 'parlando-transcriber[{extra}]'"


def models(settings: ClusterEngines) -> tuple[Model, ...]:
    """The models that the services need; `SILERO_VAD` where the package silero-vad isn't installed."""
    detector = () if find_spec("silero_vad") else (SILERO_VAD,)
    return needs(selections(settings), analyzer=settings.analyzer).models + detector


def transcribers(environment: Mapping[str, str], *, count: int, chosen: Sequence[Selection]) -> list[Service]:
    """`count` transcribers, divided equally among the chosen engines, at least one each.

    The first engines get one more if they can't be divided equally.
    """
    share, left = divmod(count, len(chosen))
    engines = [
        {"STT_ENGINE": selection.stt_engine, "WHISPER_MODEL": selection.whisper_model or ""}
        for place, selection in enumerate(chosen)
        for _ in range(max(1, share + (place < left)))
    ]
    return [
        Service(
            f"transcriber.{number}" if len(engines) > 1 else "transcriber",
            command("transcriber"),
            {**environment, **engine},
        )
        for number, engine in enumerate(engines, start=1)
    ]
