"""Which models and packages the settings need, and what the Whisper engines load for a name."""

import tomllib
from pathlib import Path

import pytest
from typer.testing import CliRunner

from parlando.cli.app import app
from parlando.errors import ModelError
from parlando.models.catalogue import MODELS, find, whisper_model
from parlando.models.selection import EXTRAS, ClusterEngines, Needs, Selection, needs, selections
from parlando.models.store import ModelStore
from parlando.models.whisper import ctranslate2_folder, openai_checkpoint
from transcriber.engines.registry import ENGINES
from transcriber.engines.registry import load as load_engine
from transcriber.settings import TranscriberSettings

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def empty_caches(tmp_path, monkeypatch):
    """No model is on this machine, and no settings are in the working directory."""
    monkeypatch.setenv("PARLANDO_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("STT_ENGINE", "WHISPER_MODEL", "ENGINES"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def _needs(**environment: str) -> tuple[list[str], list[str]]:
    """Names of models, and extras."""
    settings = ClusterEngines(**environment)
    needed = needs(selections(settings), analyzer=settings.analyzer)
    return [model.name for model in needed.models], list(needed.extras)


@pytest.mark.parametrize(
    ("environment", "models", "extras"),
    [
        ({}, ["moonshine-tiny"], []),
        ({"stt_engine": "moonshine", "whisper_model": "base"}, ["moonshine-tiny"], []),
        ({"whisper_model": "tiny.en"}, ["whisper-tiny.en"], ["faster-whisper"]),
        ({"whisper_model": "whisper-base"}, ["whisper-base"], ["faster-whisper"]),
        ({"whisper_model": "large"}, ["whisper-large-v3"], ["faster-whisper"]),
        ({"whisper_model": "/models/mine"}, [], ["faster-whisper"]),
        ({"whisper_model": "/models/mine.pt"}, [], ["whisper"]),
        ({"stt_engine": "faster-whisper"}, ["whisper-base"], ["faster-whisper"]),
        ({"stt_engine": "whisper", "whisper_model": "tiny.en"}, ["whisper-tiny.en"], ["whisper"]),
        ({"stt_engine": "openai"}, [], ["openai"]),
        ({"stt_engine": "package.module:factory"}, [], []),
        ({"engines": "moonshine, whisper-base"}, ["moonshine-tiny", "whisper-base"], ["faster-whisper"]),
        ({"engines": "base,whisper-base,tiny.en"}, ["whisper-base", "whisper-tiny.en"], ["faster-whisper"]),
        ({"engines": "moonshine-tiny", "whisper_model": "base"}, ["moonshine-tiny"], []),
        ({"analyzer": "1"}, ["moonshine-tiny", "entities-en", "minilm-l6"], ["analyzer"]),
        ({"engines": "whisper,openai", "whisper_model": "base"}, ["whisper-base"], ["whisper", "openai"]),
    ],
)
def test_the_settings_say_which_models_and_packages_are_needed(environment, models, extras):
    assert _needs(**environment) == (models, extras)


def test_a_checkpoint_that_openai_whisper_has_downloaded_is_used_and_not_fetched(tmp_path):
    cached = tmp_path / "cache" / "whisper" / "large-v3-turbo.pt"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(b"weights")

    assert _needs(stt_engine="whisper", whisper_model="turbo") == ([], ["whisper"])
    assert openai_checkpoint("whisper-turbo") == "turbo"
    assert _needs(whisper_model="turbo")[0] == ["whisper-turbo"], "faster-whisper can't read it"


def test_entries_of_engines_become_the_settings_of_one_transcriber_each():
    chosen = selections(ClusterEngines(engines="moonshine,tiny.en,faster-whisper,my.own:engine"))

    assert chosen == (
        Selection("moonshine"),
        Selection("faster-whisper", "whisper-tiny.en"),
        Selection("faster-whisper"),
        Selection("my.own:engine"),
    )
    assert selections(ClusterEngines(whisper_model="base")) == (Selection("auto", "base"),)


def test_an_entry_of_engines_that_is_not_known_is_an_error():
    with pytest.raises(ModelError, match="ENGINES names 'entities-en', which is neither an engine"):
        selections(ClusterEngines(engines="entities-en"))
    with pytest.raises(ModelError, match="ENGINES names 'nemo', which is neither an engine"):
        selections(ClusterEngines(engines="moonshine,nemo"))


def test_a_dotenv_file_selects_as_the_environment_does(tmp_path):
    (tmp_path / ".env").write_text("WHISPER_MODEL=base\n")

    assert needs(selections(ClusterEngines())) == Needs((find("base"),), ("faster-whisper",))


def test_every_engine_and_extra_is_known():
    project = tomllib.loads((ROOT / "transcriber" / "pyproject.toml").read_text())["project"]

    assert set(EXTRAS) == set(ENGINES)
    assert {extra for extra in EXTRAS.values() if extra} == set(project["optional-dependencies"])


@pytest.mark.parametrize("engine", ["whisper", "faster-whisper"])
def test_a_model_that_is_not_here_is_an_error_that_names_the_command(engine, tmp_path):
    with pytest.raises(ModelError, match=r"fetch it with: parlando models pull whisper-tiny\.en$"):
        load_engine(TranscriberSettings(stt_engine=engine, whisper_model="tiny.en"))
    with pytest.raises(ModelError, match="moonshine-tiny is a model of the engine moonshine"):
        load_engine(TranscriberSettings(stt_engine=engine, whisper_model="moonshine-tiny"))


def test_a_path_stays_a_path_and_a_name_becomes_the_folder_of_the_store(tmp_path, monkeypatch):
    folder = ModelStore().folder(find("small"))
    folder.mkdir(parents=True)
    for file in find("small").files:
        (folder / file.name).write_bytes(b"x")

    for name in ("small", "whisper-small"):
        assert ctranslate2_folder(name) == str(folder)
    for other in (str(tmp_path), "./small", "someone/whisper-small-ct2", "small.pt"):
        assert ctranslate2_folder(other) == openai_checkpoint(other) == other


def test_whisper_models_have_short_names():
    assert {whisper_model("base"), whisper_model("whisper-base")} == {MODELS["whisper-base"]}
    assert whisper_model("large-v3-turbo") == MODELS["whisper-turbo"]
    assert (
        whisper_model("moonshine-tiny") is whisper_model("entities-en") is whisper_model("minilm-l6") is None
    )


def test_the_command_line_lists_models_of_unknown_size_and_says_which_extras_are_needed(monkeypatch):
    listed = CliRunner().invoke(app, ["models", "list"])
    monkeypatch.setenv("WHISPER_MODEL", "base")
    extras = CliRunner().invoke(app, ["models", "extras"])

    assert listed.exit_code == 0
    assert all(name in listed.output for name in MODELS)
    assert extras.output == "faster-whisper\n"


def test_pull_without_a_name_asks_for_what_the_settings_select(tmp_path, monkeypatch):
    monkeypatch.setenv("WHISPER_MODEL", "small")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")

    done = CliRunner().invoke(app, ["models", "pull"])

    assert isinstance(done.exception, ModelError)
    assert "Systran/faster-whisper-small/model.bin: [Errno 111]" in str(done.exception)
    assert f"Fetching whisper-small (size unknown) into {tmp_path}/models/whisper-small" in done.output
    assert "model.bin (size unknown) from Hugging Face hub" in done.output
    assert not (tmp_path / "models" / "whisper-small").exists()
