"""What `make run` does with processes that log too much, die, or can't be started."""

import asyncio
import os
import signal
import sys
import time

import pytest

from parlando.embedded import relayed
from parlando.embedded.supervisor import Service, Supervisor


@pytest.fixture
async def supervisor():
    running = Supervisor()
    yield running
    await running.stop()


async def until(condition, *, within_s: float = 60.0):
    """The first true answer of `condition`."""
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)
    return found


def python(code: str) -> Service:
    return Service("child", [sys.executable, "-u", "-c", code])


async def test_a_line_of_200_kb_passes_and_the_process_is_restarted_when_it_is_killed(supervisor, capfd):
    supervisor.start(python("import time; print('x' * 200_000); print('after'); time.sleep(1000)"))
    said = ""

    def count(word: str) -> int:
        nonlocal said
        said += capfd.readouterr().out
        return said.count(word)

    await until(lambda: count("after") == 1)
    assert said.count("x") == 200_000
    first = supervisor.processes["child"].pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: count("after") == 2)

    assert "ended with -9; starting it again" in said
    assert supervisor.processes["child"].pid != first


async def test_a_process_whose_own_child_holds_its_pipe_is_restarted(supervisor, capfd):
    """The grandchild lives on, so the pipe has no end; that must not hold up the restart."""
    grandchild = "import subprocess, sys, os; subprocess.Popen(['sleep', '30']); print('up'); os._exit(3)"
    supervisor.start(python(grandchild))
    said = ""

    def restarts() -> int:
        nonlocal said
        said += capfd.readouterr().out
        return said.count("ended with 3")

    await until(lambda: restarts() >= 2)


async def test_a_program_that_is_missing_is_tried_again(supervisor, capfd, tmp_path):
    program = tmp_path / "program"
    supervisor.start(Service("child", [str(program)]))
    said = ""

    def has(words: str) -> bool:
        nonlocal said
        said += capfd.readouterr().out
        return words in said

    await until(lambda: has("can't be started"))
    program.write_text("#!/bin/sh\necho here\nsleep 1000\n")
    program.chmod(0o755)
    await until(lambda: has("| here"))


async def relayed_lines(data: bytes) -> list[str]:
    stream, lines = asyncio.StreamReader(), []
    stream.feed_data(data)
    stream.feed_eof()
    await relayed.relay(stream, lines.append)
    return lines


async def test_lines_come_out_as_they_went_in():
    assert await relayed_lines(b"one\n\n\ntwo\r\n\xff\nthree") == ["one", "", "", "two", "�", "three"]
    assert await relayed_lines(b"") == []


async def test_of_a_line_without_an_end_the_rest_is_left_out():
    lines = await relayed_lines(b"a" * (relayed.MAX_LINE + 5) + b"\nnext\n")
    assert lines == ["a" * relayed.MAX_LINE + " [… 5 bytes left out]", "next"]
