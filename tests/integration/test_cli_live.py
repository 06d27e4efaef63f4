"""`parlando live` against a gateway that refuses the session."""

import asyncio
import gc
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import numpy as np
import pytest
import websockets

from parlando.cli import live
from parlando.client import ClientError
from support.jobs import wav

REFUSAL = {
    "type": "error",
    "code": "at_capacity",
    "message": "All transcribers are busy; try again later",
    "retryable": True,
}


@pytest.fixture
async def gateway() -> AsyncIterator[str]:
    """The URL of a gateway that has no capacity."""

    async def refuse(socket: websockets.ServerConnection) -> None:
        await socket.send(json.dumps(REFUSAL))
        await socket.close(1013)

    async with websockets.serve(refuse, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "a.wav"
    path.write_bytes(wav(np.zeros(16_000 * 5, np.int16)))
    return path


async def test_a_full_cluster_is_one_sentence_and_a_status(gateway, file):
    process = await asyncio.create_subprocess_exec(
        Path(sys.executable).with_name("parlando"),
        *("live", file, "--url", gateway, "--fast"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await asyncio.wait_for(process.communicate(), 600)
    assert process.returncode == 1
    assert errors.decode() == f"parlando: {REFUSAL['message']}\n"


async def code_of(url: str, file: Path, *, fast: bool) -> str:
    """The code of the error with which the command ends. Keeps no reference to it, nor to its tasks."""
    try:
        await live.run(file, url=url, key=None, fast=fast, options={})
    except ClientError as error:
        return error.code
    return ""


@pytest.mark.parametrize("fast", [True, False])
async def test_the_task_that_sends_the_audio_fails_silently(gateway, file, fast):
    """Else asyncio reports its exception with a traceback when the task is collected."""
    reported = []
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: reported.append(context))
    assert await code_of(gateway, file, fast=fast) == "at_capacity"
    gc.collect()
    assert reported == []
