"""The TCP connections of one gateway: how many there may be, and until when each has to get on.

Counted before a byte is read, so that no client needs a key to be limited, and none gets more by sending
nothing. `sweep` closes what is overdue.
"""

import ipaddress
import math
import resource
from collections import Counter
from collections.abc import Sequence
from http import HTTPStatus
from ipaddress import IPv4Network, IPv6Network
from typing import Final, Protocol

import structlog

from api_gateway import metrics
from api_gateway.settings import GatewaySettings

RESERVED_FILES: Final = 480  # files for Redis (pools of 256 and 16), blobs, webhooks, the log, the listener
FEWEST: Final = 64  # connections that are always allowed
CLOSING_S: Final = 10.0  # until a closed connection must have sent what it still holds
STALLED_S: Final = 60.0  # without progress of what is being sent, then the connection is aborted

log = structlog.get_logger(part="connections")
Network = IPv4Network | IPv6Network


class AbortableTransport(Protocol):
    """What is needed of an asyncio transport."""

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        ...

    def abort(self) -> None:
        """Close it, whatever is still to be sent."""
        ...


class Connection(Protocol):
    """A protocol whose connection is counted. Times are those of the event loop, `inf` for none."""

    deadline: float
    """When what is waited for must have come."""
    stalled_since: float
    """Since when the client takes nothing of what is sent to it."""

    @property
    def socket(self) -> AbortableTransport:
        """Its transport."""
        ...

    def expire(self) -> None:
        """The deadline has passed: close."""
        ...


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError) as error:  # macOS has a lower limit of its own
            log.warning("files.limit_kept", limit=soft, error=str(error))
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def max_connections(wanted: int, file_limit: int) -> int:
    """How many fit below the limit of open files, so that `accept` never fails for want of one."""
    return max(FEWEST, min(wanted, file_limit - RESERVED_FILES))


def client_of(address: str) -> str:
    """What is counted for an address: itself, or its /64 network if it is IPv6, which one client owns."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 6:
        if parsed.ipv4_mapped:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


class Connections:
    """Counts connections per client address and in all.

    A connection counts for its own address; one of `proxies`, for the address that `X-Forwarded-For` of its
    last request names, so that a proxy's clients are told apart and its silent connections still count.
    """

    def __init__(self, *, limit: int, max_per_client: int, proxies: Sequence[Network] = ()) -> None:
        self.limit = limit
        self.max_per_client = max_per_client
        self._proxies = proxies
        self._open: dict[Connection, str] = {}
        self._clients: Counter[str] = Counter()
        self._closing: dict[Connection, float] = {}
        self._told: set[str] = set()

    def __len__(self) -> int:
        return len(self._open)

    def is_proxy(self, address: str) -> bool:
        """Whether an address is one of the trusted proxies."""
        try:
            parsed = ipaddress.ip_address(address)
        except ValueError:
            return False
        return any(parsed in network for network in self._proxies)

    def add(self, connection: Connection, address: str) -> HTTPStatus | None:
        """Count a new connection from `address`. The status with which it is refused, or None."""
        client = client_of(address)
        if len(self._open) >= self.limit:
            return self._refused("total", address, HTTPStatus.SERVICE_UNAVAILABLE)
        if self._clients[client] >= self.max_per_client:
            return self._refused("address", address, HTTPStatus.TOO_MANY_REQUESTS)
        self._open[connection] = client
        self._clients[client] += 1
        metrics.TCP_CONNECTIONS.set(len(self._open))
        return None

    def forwarded(self, connection: Connection, address: str, forwarded_for: str) -> HTTPStatus | None:
        """Count a proxy's connection for the client that its request comes from.

        `address` is the proxy's, `forwarded_for` what `X-Forwarded-For` says. The status with which the
        request is refused, or None.
        """
        if connection not in self._open:
            return None
        named = self._client_in(forwarded_for) or address
        client = client_of(named)
        if client == self._open[connection]:
            return None
        if self._clients[client] >= self.max_per_client:
            return self._refused("address", named, HTTPStatus.TOO_MANY_REQUESTS)
        self._uncount(self._open[connection])
        self._open[connection] = client
        self._clients[client] += 1
        return None

    def _client_in(self, forwarded_for: str) -> str | None:
        """The last address that isn't one of our proxies: what stands before it, the client may have sent."""
        for part in reversed(forwarded_for.split(",")):
            address = _without_port(part.strip())
            if not self.is_proxy(address):
                return address or None
        return None

    def _refused(self, why: str, address: str, status: HTTPStatus) -> HTTPStatus:
        metrics.TCP_REFUSED.labels(why).inc()
        if why not in self._told:  # once: a client that is refused may come again at once
            self._told.add(why)
            log.warning("connections.full", why=why, address=address, open=len(self._open))
        return status

    def hand_over(self, old: Connection, new: Connection) -> None:
        """A connection has another protocol from now on (a WebSocket)."""
        self._open[new] = self._open.pop(old)

    def remove(self, connection: Connection) -> None:
        """A connection is gone; one that was refused is no loss."""
        self._closing.pop(connection, None)
        if connection not in self._open:
            return
        self._uncount(self._open.pop(connection))
        metrics.TCP_CONNECTIONS.set(len(self._open))

    def _uncount(self, client: str) -> None:
        self._clients[client] -= 1
        if not self._clients[client]:
            del self._clients[client]

    def sweep(self, now: float) -> None:
        """Close what is overdue at loop time `now`; abort what doesn't take what is sent to it."""
        for connection in list(self._open):
            if connection.socket.is_closing():
                since = self._closing.setdefault(connection, now)
                if now - since >= CLOSING_S:
                    _abort(connection, "closing")
            elif now - connection.stalled_since >= STALLED_S:
                _abort(connection, "stalled")
            elif connection.deadline <= now:
                connection.deadline = math.inf
                connection.expire()


def _abort(connection: Connection, why: str) -> None:
    metrics.TCP_REFUSED.labels(why).inc()
    connection.socket.abort()


def _without_port(address: str) -> str:
    if address.startswith("["):
        return address[1:].partition("]")[0]
    return address.partition(":")[0] if address.count(":") == 1 else address


def connections_of(settings: GatewaySettings) -> Connections:
    """The connections of a gateway. Raises the process' limit of open files, and stays below it."""
    limit = max_connections(settings.max_connections, raise_file_limit())
    if limit < settings.max_connections:
        log.warning("connections.limited", limit=limit, wanted=settings.max_connections, by="open files")
    return Connections(
        limit=limit,
        max_per_client=settings.max_connections_per_address,
        proxies=settings.trusted_proxies,
    )
