"""Fixtures that several tests of the store use."""

import pytest

from parlando.store.session_log import SessionClaims
from parlando.store.sessions import Sessions
from support.pools import POOL


@pytest.fixture
def sessions(redis):
    """Sessions in one partition."""
    return Sessions(redis, partitions=1, ttl_s=100)


@pytest.fixture
async def claims(redis):
    """The claims of a transcriber."""
    claims = SessionClaims(redis, pool=POOL, worker="t", partitions=1, ttl_s=100)
    await claims.queue.ensure_groups()
    return claims
