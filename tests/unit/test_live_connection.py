"""How a live connection takes messages, and how it ends. Its socket, writer and relay are played."""

import asyncio
import time
from collections import deque
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import orjson
import pytest

from api_gateway.live import connection as live_connection
from api_gateway.live.connection import MAX_BUFFERED, LiveConnection
from api_gateway.live.ends import SessionFinished
from api_gateway.live.queued import COMMAND_BYTES
from api_gateway.live.transport import ClientDisconnected
from api_gateway.settings import GatewaySettings
from parlando.domain.commands import Configure, Flush, SessionCommand, Settle
from parlando.errors import (
    InvalidRequestError,
)
from support.events import native
from support.played import Played, Said, ended


async def test_who_finds_its_session_ended_waits_for_the_event_that_says_why():
    played = Played("ended", closed_after=0.2)
    with pytest.raises(SessionFinished):
        await asyncio.wait_for(played.connection().run(), 60)
    assert [orjson.loads(message)["type"] for message in played.sent] == ["closed"]


async def test_a_session_with_a_short_window_is_kept_alive_in_time(monkeypatch):
    monkeypatch.setattr(live_connection, "TOUCH_EVERY_S", 3600.0)
    touched = 0

    class Touched(Played):
        async def touch(self) -> None:
            nonlocal touched
            touched += 1

    played = Touched(closed_after=60.0)
    live = LiveConnection(
        played,
        played,
        SimpleNamespace(batches=played.batches),
        settings=GatewaySettings(resume_window_s=3600),
        protocol=native(),
        window_s=0.9,
    )
    serving = asyncio.create_task(live.run())
    async with asyncio.timeout(60):
        while touched < 2:  # with the window of the settings, the second time is after 20 minutes
            await asyncio.sleep(0.05)
    serving.cancel()


@pytest.mark.parametrize("also", ["gone", "no redis"])
async def test_the_end_of_a_session_matters_more_than_what_else_ends_the_connection(also):
    with pytest.raises(SessionFinished) as end:
        await Played(also, closed_after=0).connection().run()
    assert end.value.code == 1000


async def test_a_client_that_goes_while_redis_does_is_gone():
    with pytest.raises(ClientDisconnected):
        await Played("gone", "no redis").connection().run()


async def test_a_mistake_of_ours_is_not_hidden_by_an_end():
    with pytest.raises(ExceptionGroup) as mistake:
        await Played("bug", closed_after=0).connection().run()
    assert mistake.group_contains(ZeroDivisionError)


async def test_leaving_a_session_that_has_ended_is_nothing():
    await Played("ended").connection().leave()


async def test_a_control_too_many_is_told_and_the_connection_goes_on():
    client = Said({"type": "flush"}, {"type": "config", "title": "new"}, {"type": "ping"})
    client.may_take.set()
    running = asyncio.create_task(client.connection().run())
    told = [await client.sent.get(), await client.sent.get()]

    assert sorted(message["type"] for message in told) == ["error", "pong"]
    assert {"code": "too_many_controls", "retryable": True}.items() <= next(
        message for message in told if message["type"] == "error"
    ).items()
    assert not running.done()
    await ended(running)


async def test_messages_without_audio_are_bounded_too():
    many = MAX_BUFFERED // COMMAND_BYTES
    client = Said(*({"type": "config", "title": str(n)} for n in range(3 * many)))
    running = asyncio.create_task(client.connection().run())
    while len(client.left) > 2 * many:
        await asyncio.sleep(0)
    for _ in range(1000):  # it would read on in each of these turns
        await asyncio.sleep(0)

    assert len(client.left) >= 2 * many - 2
    client.may_take.set()
    await client.read_all.wait()
    while len(client.controls) < 3 * many:
        await asyncio.sleep(0)
    assert [control.changes["title"] for control in client.controls] == [str(n) for n in range(3 * many)]
    await ended(running)


async def test_a_language_that_the_engine_does_not_know_changes_nothing():
    async def check(changes: Mapping[str, Any]) -> None:
        if changes.get("language") == "tlh":
            raise InvalidRequestError("Expected a language that an engine of this cluster supports")

    client = Said({"type": "config", "language": "tlh"}, {"type": "config", "language": "de"})
    client.may_take.set()
    running = asyncio.create_task(client.connection(check=check).run())
    told = await client.sent.get()
    while not client.controls:
        await asyncio.sleep(0)

    assert told["code"] == "invalid_request"
    assert client.controls == [Configure(changes={"language": "de"})]
    await ended(running)


class Throttled(Played):
    """A session with no room for audio, whose client sends text messages without end."""

    def __init__(self, *says: str) -> None:
        super().__init__()
        self.says = says
        self.read = 0

    async def receive(self) -> str:
        said = self.says[0 if self.read == 0 else -1]
        self.read += 1
        await asyncio.sleep(0)
        return said

    async def append(self, pcm: bytes, limit: int) -> SimpleNamespace:
        return SimpleNamespace(stored=False, backlog=limit)


@pytest.mark.parametrize(
    "floods",
    [
        '{"type":"flush"}',
        '{"type":"config","prompt":"x"}',
        '{"type":"audio","chunk":""}',
        '{"type":"audio","chunk":"AA=="}',
    ],
)
async def test_messages_behind_a_throttled_chunk_are_not_kept_without_end(floods):
    throttled = Throttled('{"type":"audio","chunk":"AAAAAAAA"}', floods)
    running = asyncio.create_task(throttled.connection().run())
    read = -1
    while throttled.read != read and read < 2000:  # until it isn't read any more
        read = throttled.read
        for _ in range(200):
            await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert 0 < read < 2000


class Hasty(Played):
    """A client that sends audio and an `end`, and disconnects; a writer that stores when it is told to."""

    def __init__(self, *, room: bool = True) -> None:
        super().__init__()
        self.left = deque(
            ['{"type":"audio","chunk":"AAAA"}', '{"type":"audio","chunk":"AAAA"}', '{"type":"end"}']
        )
        self.room = room
        self.stored: list[str | int] = []

    async def receive(self) -> str:
        if not self.left:
            raise ClientDisconnected
        return self.left.popleft()

    async def send(self, message: str) -> None:
        raise ClientDisconnected

    async def append(self, pcm: bytes, limit: int) -> SimpleNamespace:
        await asyncio.sleep(0.01)
        if self.room:
            self.stored.append(len(pcm))
        return SimpleNamespace(stored=self.room, backlog=0)

    async def command(self, command: SessionCommand) -> None:
        self.stored.append(command.type)

    settled = (0, 0)


async def test_what_a_client_has_sent_is_stored_though_it_has_disconnected():
    hasty = Hasty()
    with pytest.raises(ClientDisconnected):
        await asyncio.wait_for(hasty.connection().run(), 60)
    assert sum(hasty.stored[:-1]) == 6
    assert hasty.stored[-1] == "end"


async def test_a_client_that_has_disconnected_is_not_waited_for_without_end(monkeypatch):
    monkeypatch.setattr(live_connection, "REST_S", 0.1)
    with pytest.raises(ClientDisconnected):
        await asyncio.wait_for(Hasty(room=False).connection().run(), 60)


async def test_a_ping_is_answered_behind_the_end_too():
    """The tail may take long; a client that hears nothing would take the connection for lost."""
    client = Said({"type": "end"}, {"type": "ping"})
    running = asyncio.create_task(client.connection().run())
    assert (await asyncio.wait_for(client.sent.get(), 60))["type"] == "pong"
    await ended(running)


async def test_a_gateway_that_stood_still_does_not_take_its_client_for_silent():
    """Stopped, or starved of processor time, for longer than audio may be missing."""
    played, controls = Played(), []
    audio: asyncio.Queue[str] = asyncio.Queue()

    async def append(pcm: bytes, limit: int) -> SimpleNamespace:
        played.settled = (0, 0)
        return SimpleNamespace(stored=True, backlog=0)

    async def command(command: SessionCommand) -> None:
        controls.append(command)

    played.receive, played.append, played.command = audio.get, append, command
    relay = SimpleNamespace(batches=played.batches)
    settings = GatewaySettings(stall_flush_s=1)
    live = LiveConnection(played, played, relay, settings=settings, protocol=native())
    running = asyncio.create_task(live.run())
    audio.put_nowait('{"type":"audio","chunk":"AAAA","index":0}')
    while not played.sent:
        await asyncio.sleep(0.01)
    time.sleep(2)  # noqa: ASYNC251 nothing in this process runs
    for _ in range(5):  # what came meanwhile is read from the socket in a few turns
        await asyncio.sleep(0)
    audio.put_nowait('{"type":"audio","chunk":"AAAA","index":1}')
    await asyncio.sleep(0.6)
    assert controls == []
    while not controls:  # now it's the client that is silent
        await asyncio.sleep(0.01)
    assert controls == [Settle()]
    await ended(running)


class SlowRedis:
    """A connection whose Redis stores nothing until `answers` is set. `done`: what was stored, in order."""

    def __init__(self) -> None:
        self.done: list[str | SessionCommand] = []
        self.answers = asyncio.Event()
        self.played = played = Played()
        self._messages: asyncio.Queue[str] = asyncio.Queue()
        played.receive, played.append, played.command = self._messages.get, self._append, self._command
        settings = GatewaySettings(stall_flush_s=0.3)
        relay = SimpleNamespace(batches=played.batches)
        self.live = LiveConnection(played, played, relay, settings=settings, protocol=native())

    async def _append(self, pcm: bytes, limit: int) -> SimpleNamespace:
        await self.answers.wait()
        self.played.settled = (0, 0)
        self.done.append("audio")
        return SimpleNamespace(stored=True, backlog=0)

    async def _command(self, command: SessionCommand) -> None:
        self.done.append(command)

    async def stored(self, *messages: str, after_s: float, expected: int) -> list[str | SessionCommand]:
        """What is stored of `messages`; Redis answers after `after_s`, when nothing may be stored yet."""
        running = asyncio.create_task(self.live.run())
        for message in messages:
            self._messages.put_nowait(message)
        await asyncio.sleep(after_s)
        assert self.done == []
        self.answers.set()
        async with asyncio.timeout(60):
            while len(self.done) < expected:
                await asyncio.sleep(0.01)
        await ended(running)
        return self.done


SAID = '{"type":"audio","chunk":"AAAA","index":0}'


async def test_audio_that_is_not_stored_yet_is_not_settled():
    """While Redis is slow, the client isn't silent; and the command would come before the audio."""
    assert await SlowRedis().stored(SAID, after_s=1, expected=2) == ["audio", Settle()]


async def test_audio_behind_a_flush_is_settled():
    """Both came while Redis was slow."""
    stored = await SlowRedis().stored(SAID, '{"type":"flush"}', SAID, after_s=0.1, expected=4)
    assert stored == ["audio", Flush(), "audio", Settle()]
