"""How the sessions of a token that may open only some are counted."""

from types import SimpleNamespace
from typing import Any

import pytest

from api_gateway.auth import Principal
from api_gateway.doors.base import SessionRequest
from api_gateway.live import serve
from api_gateway.live.opening import Opening
from api_gateway.live.token_sessions import TokenSessions
from parlando.domain.formats import AudioFormat
from parlando.errors import AtCapacityError, NotAllowedError, SessionNotFoundError, SessionTakenError
from support.unlimited import unlimited

RESUMING = SessionRequest(session_id="x1", resume="A" * 16, start_at=0)
CALLER = Principal("owner", by_token=True, token="t", sessions=1, token_expires_at=4_000_000_000)


class Writer:
    """A session in memory."""

    def __init__(self, sid: str) -> None:
        self.sid, self.seq, self.epoch, self.position, self.pool = sid, 0, 1, 0, "p"
        self.format = AudioFormat()
        self.commands: list[Any] = []

    async def command(self, command: Any) -> None:
        self.commands.append(command)


async def _opened(_: str, find: Any, opening: Any, *, wait: bool) -> Writer:
    return await opening(await find())


class Gateway:
    """Sessions and the counts of tokens in memory; `room`: how many sessions can be made."""

    def __init__(self, *, room: int = 100) -> None:
        self.made: dict[str, Writer] = {}
        self.counted: set[str] = set()
        self.taken_meanwhile: set[str] = set()
        self.owner = "owner"
        self._room = room
        self.services: Any = SimpleNamespace(
            access=SimpleNamespace(ring=SimpleNamespace(keys=self)),
            admission=self,
            sessions=self,
            history=self,
            shares=SimpleNamespace(opened=_opened),
            settings=SimpleNamespace(omi_transcript_webhook="", default_language=None, resume_window_s=60),
            limits=unlimited(),
        )

    async def count_session(self, token: str, name: str, *, limit: int, expires_at: int) -> bool:
        if len(self.counted) >= limit:
            return False
        self.counted.add(name)
        return True

    async def uncount_session(self, token: str, name: str) -> None:
        self.counted.discard(name)

    async def places(self, *_: Any) -> list[Any]:
        return []

    async def pool(self, _: str) -> None:
        return None

    async def open(self, sid: str, **_: Any) -> Writer:
        if sid in self.taken_meanwhile:
            self.made[sid] = Writer(sid)
            raise SessionTakenError(sid)
        if len(self.made) >= self._room:
            raise AtCapacityError("full")
        self.made[sid] = Writer(sid)
        return self.made[sid]

    async def record(self, sid: str) -> Any:
        return SimpleNamespace(key=self.owner, state="open")

    async def attach(self, sid: str, **_: Any) -> Any:
        if sid not in self.made:
            raise SessionNotFoundError(sid)
        return SimpleNamespace(writer=self.made[sid], seq=0, state="open", behind=lambda continued: False)

    async def opened(self, *requests: SessionRequest, caller: Principal = CALLER) -> list[Any]:
        protocols: Any = [SimpleNamespace(request=lambda first, r=request: r) for request in requests]
        return await serve._open_all(protocols, self.services, caller)


async def test_reopening_counts_as_opening():
    gateway = Gateway()
    await gateway.opened(RESUMING)
    for request in (SessionRequest(), SessionRequest(session_id="x2", resume="A" * 16, start_at=0)):
        with pytest.raises(NotAllowedError, match="has opened the 1 sessions"):
            await gateway.opened(request)
    assert [*gateway.made] == ["x1"]


async def test_attaching_is_not_counted():
    gateway = Gateway()
    [made] = await gateway.opened(SessionRequest(session_id="x1"))
    for _ in range(3):
        assert (await gateway.opened(RESUMING))[0].session.id == made.session.id
    other = Gateway()
    other.taken_meanwhile.add("x1")  # another connection reopens it between the two calls
    counted = TokenSessions(other, CALLER)  # type: ignore[arg-type]
    assert (await Opening(other.services, CALLER, counted).open(RESUMING)).id == "x1"
    assert not other.counted


@pytest.mark.parametrize(("owner", "held"), [("owner", ["x1", "new"]), ("another", ["new"])])
async def test_an_id_that_another_owner_has_is_not_counted_for_the_caller(owner, held):
    gateway, counts = Gateway(), dict[str, str]()
    gateway.owner = owner
    gateway.taken_meanwhile.add("x1")

    async def admit(_: Any, sid: str, **__: Any) -> None:
        counts[sid] = "x1" if sid == "x1" else "new"

    async def release(_: Any, sid: str) -> None:
        del counts[sid]

    gateway.services.limits.sessions = SimpleNamespace(admit=admit, release=release)
    await gateway.opened(SessionRequest(session_id="x1"))
    assert [*counts.values()] == held


async def test_channels_are_counted_and_a_refused_opening_is_not():
    two = Principal("owner", by_token=True, token="t", sessions=2, token_expires_at=4_000_000_000)
    gateway = Gateway(room=1)
    with pytest.raises(AtCapacityError):
        await gateway.opened(SessionRequest(), SessionRequest(), caller=two)
    assert not gateway.counted
    [first] = gateway.made.values()
    assert [command.reason for command in first.commands] == ["refused"]
    gateway = Gateway()
    with pytest.raises(NotAllowedError, match="has opened the 1 sessions"):
        await gateway.opened(SessionRequest(), SessionRequest())
    assert not gateway.counted
    await gateway.opened(SessionRequest(), SessionRequest(), caller=two)
    assert len(gateway.counted) == 2


async def test_keys_have_no_such_limit():
    gateway = Gateway()
    await gateway.opened(*(SessionRequest() for _ in range(5)), caller=Principal("owner"))
    assert len(gateway.made) == 5
    assert not gateway.counted
