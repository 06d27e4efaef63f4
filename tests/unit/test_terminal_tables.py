"""Tables on the terminal: what a server sends is shown as it is, brackets included."""

from typing import Any

import pytest
from typer.testing import CliRunner

from parlando.cli import deliveries, jobs, keys, songs, speakers, status, usage
from parlando.cli.app import app

ODD = "[red]a[/x]"  # as markup it would raise an error


class Client:
    """Any client: lists one entry."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: Any) -> None:
        pass


class Jobs(Client):
    def list(self, **_: Any) -> list[dict[str, Any]]:
        return [{"job_id": "j", "status": "done", "progress": 1, "audio_seconds": 1.0, "filename": ODD}]


class Speakers(Client):
    async def known(self) -> list[dict[str, Any]]:
        return [{"name": ODD, "clips": 1, "seconds": 4.0, "created_at": "now"}]


class Songs(Client):
    async def list(self):
        yield {"id": 1, "artist": ODD, "album": "", "title": "", "duration": 61}


KEY = {"id": "i", "name": ODD, "owner": "o", "scopes": ["live"], "doors": [], "status": "active"}
DELIVERY = {"id": "i", "destination": "d", "job_id": "", "session_id": "", "attempts": 1, "queued_at": "q"}


@pytest.fixture(autouse=True)
def _answers(monkeypatch):
    delivery = {**DELIVERY, "next_attempt_at": "", "error": {"code": "c", "message": ODD}}
    monkeypatch.setattr(keys, "_ask", lambda *_: [{**KEY, "last_used_at": "", "expires_at": ""}])
    monkeypatch.setattr(deliveries, "_ask", lambda *_, **__: {"deliveries": [delivery]})
    monkeypatch.setattr(jobs, "Parlando", Jobs)
    monkeypatch.setattr(speakers, "SpeakersClient", Speakers)
    monkeypatch.setattr(songs, "SongsClient", Songs)
    monkeypatch.setenv("COLUMNS", "200")


@pytest.mark.parametrize("table", ["keys", "deliveries", "jobs", "speakers", "songs"])
def test_brackets_are_no_markup(table):
    shown = CliRunner().invoke(app, [table, "list"])
    assert shown.exit_code == 0, shown.exception
    assert ODD in shown.output


def test_brackets_in_the_state_of_a_gateway_are_no_markup(monkeypatch, capsys):
    engine = {"engine": "e", "model": ODD, "why": "only one"}
    report = {"status": "healthy", "engines": [engine]}

    class Answer:
        def raise_for_status(self) -> "Answer":
            return self

        def json(self) -> dict[str, Any]:
            return report

    monkeypatch.setattr(status.httpx, "get", lambda *_, **__: Answer())
    shown = CliRunner().invoke(app, ["status"])
    assert ODD in shown.output


class _Usages(Client):
    """Answers with usage of `owners`."""

    owners = ("me", ODD)

    async def get(self, **_: object) -> dict[str, Any]:
        audio = dict.fromkeys(("audio_s", "live_audio_s", "job_audio_s", "omi_audio_s"), 36_618.7)
        used = {
            **audio,
            "sessions": 12,
            "llm_input_tokens": 12_000,
            "llm_output_tokens": 900,
            "cost_usd": 12.5,
        }
        days = [{**used, "day": "2026-11-27", "owner": name, "owner_name": name} for name in self.owners]
        return {"days": days, "total": used}


def test_usage_fits_a_terminal_of_80_columns_and_has_the_owners_if_there_are_several(monkeypatch):
    monkeypatch.setattr(usage, "UsageClient", _Usages)
    monkeypatch.setenv("COLUMNS", "80")
    several = CliRunner().invoke(app, ["usage"]).output
    monkeypatch.setattr(_Usages, "owners", ("me",))
    one = CliRunner().invoke(app, ["usage"]).output
    assert ODD in several
    assert ODD not in one
    assert one.splitlines()[0].split() == ["day", "audio", "live", "jobs", "Omi", "sessions", "tokens", "US$"]
    assert one.splitlines()[1].split() == ["2026-11-27", *["10:10:18"] * 4, "12", "12000/900", "12.50"]
    assert several.splitlines()[-1].split() == ["total", "10:10:18", "12", "12000/900", "12.50"]
