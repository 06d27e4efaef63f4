"""An FFmpeg that can't be started: the error says what to do."""

import errno

import httpx
import pytest

from audio_processor.app import create_app
from audio_processor.ffmpeg import Ffmpeg
from audio_processor.process import FfmpegProcess, FfmpegStartError
from audio_processor.settings import ProcessorSettings


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOENT, "install FFmpeg again"), (errno.EMFILE, "ulimit -n"), (errno.EIO, "run it by hand")],
)
async def test_the_error_says_what_to_do(monkeypatch, number, remedy):
    async def failing(*command, **options):
        raise OSError(number, "reason of the system")

    monkeypatch.setattr("asyncio.create_subprocess_exec", failing)
    with pytest.raises(FfmpegStartError, match=rf"^FFmpeg at /opt/ffmpeg can't be started .*{remedy}"):
        await FfmpegProcess.start(["/opt/ffmpeg", "-i", "pipe:0"])


async def test_a_program_that_was_removed_is_an_answer_and_no_failure(tmp_path):
    gone = Ffmpeg(str(tmp_path / "ffmpeg"), "7.0", opens_descriptors=True)
    app = create_app(ProcessorSettings(), gone)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://processor") as client:
        answer = await client.post("/v1/audio/convert", content=b"RIFF")

    assert answer.status_code == 503
    assert answer.json()["code"] == "unavailable"
    assert "install FFmpeg again, and restart the audio-processor" in answer.json()["detail"]
