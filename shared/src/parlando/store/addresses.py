"""Parsing of `REDIS_URL`: one Redis server, a master found by Sentinel, or a Redis Cluster."""

from dataclasses import dataclass, field
from typing import Any, Final, Literal
from urllib.parse import parse_qs, unquote, urlsplit

_PORTS: Final = {"single": 6379, "cluster": 6379, "sentinel": 26379}


@dataclass(frozen=True, slots=True)
class Address:
    """The address of Redis. `options` for redis-py: username, password, db, ssl."""

    kind: Literal["single", "cluster", "sentinel"]
    hosts: tuple[tuple[str, int], ...]
    master: str = ""
    replicas: int = 0
    options: dict[str, Any] = field(default_factory=dict)


def parse(url: str) -> Address:
    """Parse `redis://`, `redis+sentinel://` or `redis+cluster://` (`rediss…` with TLS).

    ``redis+sentinel://[user:password@]host[:26379],…/master[/db][?replicas=1]``: user and password are those
    of Redis, `replicas` is the number of replicas that must have an acknowledged write (see
    `connection.Scripts`).
    ``redis+cluster://[user:password@]host[:6379],…``.

    Raises
    ------
    ValueError
        if the URL has another form.

    """
    scheme, _, rest = url.partition("://")
    name, _, kind = scheme.partition("+")
    if name not in ("redis", "rediss") or kind not in ("", "cluster", "sentinel") or not rest:
        raise ValueError(
            f"Expected redis://, redis+sentinel:// or redis+cluster:// in REDIS_URL, got {url!r}"
        )
    credentials, _, places = rest.rpartition("@")
    places, _, query = places.partition("?")
    hosts, _, path = places.partition("/")
    options: dict[str, Any] = {"ssl": True} if name == "rediss" else {}
    user, _, password = credentials.partition(":")
    options |= {"username": unquote(user)} if user else {}
    options |= {"password": unquote(password)} if password else {}
    parts = [part for part in path.split("/") if part]
    master = ""
    if kind == "sentinel":
        if not parts:
            raise ValueError(
                "Expected the master's name after the hosts of Sentinel: redis+sentinel://host/name"
            )
        master = parts.pop(0)
    if parts:
        options["db"] = int(parts[0])
    found: Literal["single", "cluster", "sentinel"] = kind or "single"  # type: ignore[assignment]
    named = parse_qs(query).get("replicas")
    replicas = int(named[0]) if named else int(kind == "sentinel")
    places_of = tuple(_host(host, _PORTS[found]) for host in hosts.split(","))
    return Address(found, places_of, master, replicas, options)


def _host(text: str, port: int) -> tuple[str, int]:
    split = urlsplit(f"//{text}")
    return split.hostname or "127.0.0.1", split.port or port
