"""What an FFmpeg may use: shown on programs that want more."""

import asyncio
import sys

import psutil
import pytest
import uvloop

from audio_processor import process
from audio_processor.process import FfmpegProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes need Linux")
WAIT = "import sys; sys.stdin.buffer.read(1); "  # so that the limits are there before it begins


async def _run(program: str) -> tuple[int, FfmpegProcess]:
    started = await FfmpegProcess.start([sys.executable, "-c", WAIT + program])
    await started.write(b"x")
    started.close_input()
    async with asyncio.timeout(600):
        while await started.read():
            pass
        return await started.wait(), started


async def test_computing_time_ends(monkeypatch):
    monkeypatch.setattr(process, "CPU_BASE_S", 1)
    status, ended = await _run("\nwhile True: pass")

    assert status == -24
    assert "computing time" in ended.reason()


async def test_memory_ends():
    status, ended = await _run("import mmap; mmap.mmap(-1, 2 << 30)")

    assert status == 1
    assert "more memory than such audio may need" in ended.reason()


async def test_no_file_can_be_written(tmp_path):
    target = tmp_path / "audio"
    status, _ = await _run(f"import os; os.write(os.open({str(target)!r}, os.O_CREAT | os.O_WRONLY), b'pcm')")

    assert status == 1
    assert target.stat().st_size == 0


async def test_a_killed_process_leaves_nothing_open():
    started = await FfmpegProcess.start([sys.executable, "-c", "import time; time.sleep(60)"])
    await started.kill()

    assert await started.wait() == -9
    assert await started.write(b"x") is False


async def _cancelled(running: "asyncio.Task[None]") -> None:
    """Cancel a task at every point of its way out."""
    while not running.done():
        running.cancel()
        await asyncio.sleep(0)
    assert running.cancelled()


async def test_a_cancellation_during_the_clean_up_leaves_no_process():
    """The caller is cancelled again and again while it kills; the process is gone and waited for."""
    started = await FfmpegProcess.start([sys.executable, "-c", "import time; time.sleep(60)"])
    held = asyncio.Event()

    async def hold() -> None:
        async with started:
            held.set()
            await asyncio.sleep(60)

    running = asyncio.create_task(hold())
    await held.wait()
    await _cancelled(running)

    assert not psutil.pid_exists(started.pid)
    assert await started.read() == b"", "its output is read to the end, so that its pipes are closed"


def test_a_cancelled_wait_can_be_repeated():
    """Cancelled between the process's end and the end of what it printed: a later `wait` reads the rest."""
    child = "import sys; sys.stdin.read(); print('Cannot allocate memory', file=sys.stderr)"
    program = f"import subprocess; subprocess.Popen([sys.executable, '-c', {child!r}]); sys.exit(1)"

    async def wait_twice() -> None:
        started = await FfmpegProcess.start([sys.executable, "-c", WAIT + program])
        await started.write(b"x")
        waiting = asyncio.create_task(started.wait())
        async with asyncio.timeout(600):
            while psutil.pid_exists(started.pid):
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)
        await _cancelled(waiting)
        started.close_input()

        assert await started.wait() == 1
        assert "more memory" in started.reason()
        await started.kill()

    uvloop.run(wait_twice())  # as in the service; asyncio's own loop waits for what it printed before it ends
