"""Limits of one gateway's TCP connections: their number, in all and per client, and their deadlines.

Connections are counted before a byte is read, so that the limits also apply to clients without a key and to
those that send nothing. `sweep` closes connections that exceed a deadline.
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

RESERVED_FILES: Final = 480  # for Redis (pools of 256 and 16), blobs, webhooks, the log, the listener
MIN_CONNECTIONS: Final = 64  # allowed even if the limit of open files is lower
CLOSING_S: Final = 10.0  # for a closing connection to send its buffer; then it is aborted
STALLED_S: Final = 60.0  # a connection whose client reads nothing for this long is aborted

log = structlog.get_logger(part="connections")
Network = IPv4Network | IPv6Network


class AbortableTransport(Protocol):
    """The methods of an asyncio transport that are used here."""

    def is_closing(self) -> bool:
        """Whether it is closed or closing."""
        ...

    def abort(self) -> None:
        """Close it and discard its send buffer."""
        ...


class Connection(Protocol):
    """A counted connection. Times are loop times in seconds, `inf` for none."""

    deadline: float
    """When the data that is waited for must have arrived."""
    stalled_since: float
    """Since when the client has read nothing that was sent to it."""

    @property
    def socket(self) -> AbortableTransport:
        """Its transport."""
        ...

    def expire(self) -> None:
        """The deadline has passed: close."""
        ...


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one. Returns the soft limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            soft = hard
        except (ValueError, OSError) as error:  # macOS has another, lower limit
            log.warning("files.limit_kept", limit=soft, error=str(error))
    return 1 << 30 if soft == resource.RLIM_INFINITY else soft


def max_connections(requested: int, file_limit: int) -> int:
    """The number of connections below the limit of open files, so that `accept` never runs out of files."""
    return max(MIN_CONNECTIONS, min(requested, file_limit - RESERVED_FILES))


def client_of(address: str) -> str:
    """The client that an address counts for: the address, or for IPv6 its /64, which one client owns."""
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
    """Counts connections per client and in all, and refuses those above a limit.

    A connection counts for its own address. One of `proxies` counts for the address in the `X-Forwarded-For`
    header of its last request, so that each client of a proxy has its own limit; before its first request it
    counts for the proxy.
    """

    def __init__(self, *, limit: int, max_per_client: int, proxies: Sequence[Network] = ()) -> None:
        self.limit = limit
        self.max_per_client = max_per_client
        self._proxies = proxies
        self._open: dict[Connection, str] = {}
        self._clients: Counter[str] = Counter()
        self._closing: dict[Connection, float] = {}
        self._logged: set[str] = set()

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
        """Count a new connection from `address`. Returns the status to refuse it with, or None."""
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
        """Count a proxy's connection for the client of its request.

        Returns the status to refuse the request with, or None.
        `address`: the proxy's. `forwarded_for`: the value of `X-Forwarded-For`.
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
        """The last address that isn't a trusted proxy. The client may have forged those before it."""
        for part in reversed(forwarded_for.split(",")):
            address = _without_port(part.strip())
            if not self.is_proxy(address):
                return address or None
        return None

    def _refused(self, why: str, address: str, status: HTTPStatus) -> HTTPStatus:
        metrics.TCP_REFUSED.labels(why).inc()
        if why not in self._logged:  # once, because refused clients may retry without a pause
            self._logged.add(why)
            log.warning("connections.full", why=why, address=address, open=len(self._open))
        return status

    def hand_over(self, old: Connection, new: Connection) -> None:
        """Replace a connection by its successor, the WebSocket after an upgrade."""
        self._open[new] = self._open.pop(old)

    def remove(self, connection: Connection) -> None:
        """Stop counting a connection. One that was refused isn't counted and is ignored."""
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
        """Expire overdue connections, and abort those that stall or don't close. `now`: loop time."""
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
    """Connection limits by the settings. Raises the process's limit of open files, and stays below it."""
    limit = max_connections(settings.max_connections, raise_file_limit())
    if limit < settings.max_connections:
        log.warning("connections.limited", limit=limit, requested=settings.max_connections, by="open files")
    return Connections(
        limit=limit,
        max_per_client=settings.max_connections_per_address,
        proxies=settings.trusted_proxies,
    )
