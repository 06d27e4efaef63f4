"""Fixtures that several tests use."""

import hashlib
import lzma
import time

import hypothesis.internal.observability  # noqa: F401 its plugin would import it at the very end of a run
import pytest
from httpx._config import DEFAULT_TIMEOUT_CONFIG
from hypothesis import settings

from parlando.store.connection import connect
from support.cluster import Process
from support.redis_server import RedisServer
from support.speech import MICRO

MICRO_SHA256 = "2caee35ab5632ac1dbb0264d57c103dca7c968e0aa992b29f0025cbe559e0e08"


# httpx gives up after 5 s, which a busy machine exceeds; a test that hangs is ended by pytest-timeout.
for _phase in ("connect", "read", "write", "pool"):
    setattr(DEFAULT_TIMEOUT_CONFIG, _phase, 600.0)


Process.forks = True


# By default Hypothesis fails an example that takes 200 ms, which a busy machine exceeds.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


@pytest.fixture(scope="session", autouse=True)
def data_folder(tmp_path_factory):
    """The archive and the blobs of the tests' clusters aren't those of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("data")))
        yield


DAY_S = 24 * 3600
DAY_MARGIN_S = 300  # ten times what the longest test takes that compares the usage of a day


@pytest.fixture
def same_day():
    """The day doesn't end during the test (UTC); shortly before its end the test waits for the next one."""
    left = DAY_S - time.time() % DAY_S
    if left < DAY_MARGIN_S:
        time.sleep(left + 1)


@pytest.fixture
def redis_server():
    """A fresh Redis."""
    server = RedisServer()
    server.start()
    yield server
    server.stop()


@pytest.fixture
async def redis(redis_server):
    """A client of it."""
    client = connect(redis_server.url)
    yield client
    await client.aclose()


@pytest.fixture(scope="session")
def micro_checkpoint(tmp_path_factory):
    """A tiny real Whisper's checkpoint."""
    path = tmp_path_factory.mktemp("micro") / "whisper-micro.pt"
    path.write_bytes(lzma.decompress((MICRO / "whisper-micro.pt.xz").read_bytes()))
    assert hashlib.sha256(path.read_bytes()).hexdigest() == MICRO_SHA256
    return path
