"""What an FFmpeg may use: shown on programs that want more."""

import asyncio
import sys

import pytest

from audio_processor import process
from audio_processor.process import FfmpegProcess

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits of other processes need Linux")
WAIT = "import sys; sys.stdin.buffer.read(1); "  # so that the limits are there before it begins


async def _run(program: str) -> tuple[int, FfmpegProcess]:
    started = await FfmpegProcess.start([sys.executable, "-c", WAIT + program])
    await started.write(b"x")
    started.close_input()
    async with asyncio.timeout(15):
        while await started.read():
            pass
        return await started.wait(), started


async def test_computing_time_ends(monkeypatch):
    monkeypatch.setattr(process, "CPU_BASE_S", 1)
    status, ended = await _run("\nwhile True: pass")

    assert status == -24
    assert "computing time" in ended.reason()


async def test_memory_ends():
    status, ended = await _run("bytearray(2 << 30)")

    assert status == 1
    assert "MemoryError" in ended.reason()


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
