"""Fixtures that several tests use."""

import pytest

from support.redis_server import RedisServer


@pytest.fixture
def redis_server():
    """A fresh Redis."""
    server = RedisServer()
    server.start()
    yield server
    server.stop()
