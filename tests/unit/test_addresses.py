"""What REDIS_URL may say."""

import pytest

from parlando.store.addresses import Address, parse

TLS = {"ssl": True}


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://localhost", Address("single", (("localhost", 6379),))),
        ("rediss://u:p%40ss@cache:6380/2",
         Address("single", (("cache", 6380),), options=TLS | {"username": "u", "password": "p@ss", "db": 2})),
        ("redis+cluster://a,b:7001", Address("cluster", (("a", 6379), ("b", 7001)))),
        ("redis+sentinel://:secret@a,b:26380/captions/1",
         Address("sentinel", (("a", 26379), ("b", 26380)), "captions", 1, {"password": "secret", "db": 1})),
        ("redis+sentinel://a/captions?replicas=0", Address("sentinel", (("a", 26379),), "captions", 0)),
    ],
)  # fmt: skip
def test_addresses_are_read(url, address):
    assert parse(url) == address


@pytest.mark.parametrize(
    "url", ["http://x", "redis+other://x", "redis+sentinel://host", "redis://", "localhost:6379"]
)
def test_what_is_none_is_refused(url):
    with pytest.raises(ValueError, match="Expected"):
        parse(url)
