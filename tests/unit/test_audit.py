"""The writer of the audit log while Redis can't be reached, and the table of actions."""

import asyncio

import pytest

from api_gateway import audit, metrics
from api_gateway.audit import Auditor, Note
from api_gateway.audit_table import ACTIONS, AUDITED
from api_gateway.auth import Principal
from parlando.errors import UnavailableError
from parlando.store.audit import AuditEntry


class Log:
    """Stands for `AuditLog`: refuses while `down`."""

    def __init__(self) -> None:
        self.down = False
        self.stored: list[AuditEntry] = []
        self.calls = 0

    async def append(self, entries, *, within_s: float) -> None:
        self.calls += 1
        await asyncio.sleep(0)
        if self.down:
            raise UnavailableError("Redis can't be reached")
        self.stored += entries


def _entry(number: int) -> AuditEntry:
    return AuditEntry(at_ms=number, owner="o", key="k", action="key.create", outcome="ok")


def _count(outcome: str) -> float:
    return metrics.AUDIT.labels(outcome)._value.get()


@pytest.fixture
async def running(monkeypatch):
    monkeypatch.setattr(audit, "RETRY_S", 0.01)
    log = Log()
    auditor = Auditor(log)
    task = asyncio.create_task(auditor.run())
    yield auditor, log
    task.cancel()
    await asyncio.wait([task])


async def test_an_answered_request_has_its_entry(running):
    auditor, log = running
    await asyncio.gather(*(auditor.record(_entry(number)) for number in range(500)))
    assert [entry.at_ms for entry in log.stored] == list(range(500))
    assert log.calls < 100, "entries are stored in batches"


async def test_what_redis_does_not_take_waits_and_is_stored_later_in_order(running, monkeypatch):
    auditor, log = running
    monkeypatch.setattr(audit, "WAIT_S", 0.05)
    log.down = True
    late, failed = _count("late"), _count("failed")
    await auditor.record(_entry(1))  # the request goes on
    await auditor.record(_entry(2))
    assert (auditor.waiting, log.stored) == (2, [])
    assert _count("late") == late + 2
    assert _count("failed") > failed
    log.down = False
    monkeypatch.setattr(audit, "WAIT_S", 600.0)
    await auditor.record(_entry(3))
    assert [entry.at_ms for entry in log.stored] == [1, 2, 3]


async def test_what_is_lost_is_counted_and_logged(monkeypatch, capsys):
    monkeypatch.setattr(audit, "MAX_WAITING", 2)
    monkeypatch.setattr(audit, "LAST_S", 0.0)
    auditor, lost = Auditor(Log()), _count("lost")
    for number in range(3):
        auditor.add(_entry(number))
    assert (auditor.waiting, _count("lost")) == (2, lost + 1)
    await auditor.aclose()
    assert (auditor.waiting, _count("lost")) == (0, lost + 3)
    assert capsys.readouterr().out.count("audit.lost") == 3


async def test_what_waits_is_stored_when_the_gateway_ends():
    log = Log()
    auditor = Auditor(log)
    auditor.add(_entry(1))
    await auditor.aclose()
    assert len(log.stored) == 1


def test_every_object_can_be_made_of_the_path_and_never_of_a_key():
    assert "key.revoke" in ACTIONS
    for route, action in AUDITED.items():
        if action is not None:
            assert "{key}" not in action.about
            note = Note()
            names = [part.partition("}")[0].partition(":")[0] for part in route.split("{")[1:]]
            note.of(route, dict.fromkeys(names, "x"), Principal("o" * 64))
            entry = note.entry(200, address="127.0.0.1", request="r")
            assert (entry.owner, entry.action) == ("o" * 16, action.name)
            assert "{" not in entry.object
