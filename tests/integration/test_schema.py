"""Processes of two versions never work on one keyspace."""

import subprocess
import sys

import orjson
import pytest

from parlando.store.heartbeat import beat
from parlando.store.keys import SCHEMA, WORKERS
from parlando.store.schema import VERSION, SchemaError, check_live_workers, check_schema
from support.cluster import TESTS


async def test_the_first_process_claims_the_keyspace_for_its_version(redis):
    await check_schema(redis)
    await check_schema(redis)
    assert int(await redis.get(SCHEMA)) == VERSION


async def test_data_of_another_schema_are_refused_with_every_heartbeat(redis):
    await redis.set(SCHEMA, VERSION + 1)
    with pytest.raises(SchemaError, match=rf"schema {VERSION + 1}, and this Parlando reads schema {VERSION}"):
        await beat(redis, "w", {})


async def test_a_process_of_another_version_that_lives_is_refused(redis):
    await beat(redis, "new", {"kind": "transcriber"})
    await check_live_workers(redis)
    seconds, _ = await redis.time()
    old = {"kind": "transcriber", "worker": "transcriber-old", "at": seconds}
    await redis.hset(WORKERS, "old", orjson.dumps(old))
    with pytest.raises(SchemaError, match="transcriber-old runs on this Redis with schema 1"):
        await check_live_workers(redis)
    await redis.hset(WORKERS, "old", orjson.dumps({**old, "at": seconds - 10}))  # it has ended
    await check_live_workers(redis)


@pytest.mark.parametrize("module", ["transcriber", "api_gateway", "audio_processor"])
async def test_a_service_says_why_it_refuses(redis, redis_server, module):
    await redis.set(SCHEMA, VERSION + 1)
    done = subprocess.run(
        [sys.executable, "-m", module],
        env={
            "REDIS_URL": redis_server.url,
            "PORT": str(_free()),
            "PROCESSOR_PORT": str(_free()),
            "PYTHONPATH": str(TESTS),
            "STT_ENGINE": "support.perfect:engine",
            "VAD": "rms",
            "PATH": "/usr/bin:/bin",
            "LOG_FORMAT": "json",
        },
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert f"Redis holds data of schema {VERSION + 1}" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert done.returncode == 1


def _free() -> int:
    from support.ports import free_port

    return free_port()
