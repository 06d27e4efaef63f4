"""Fixtures that several tests use."""

import hypothesis.internal.observability  # noqa: F401 its plugin would import it at the very end of a run
import pytest

from support.redis_server import RedisServer


@pytest.fixture
def redis_server():
    """A fresh Redis."""
    server = RedisServer()
    server.start()
    yield server
    server.stop()
