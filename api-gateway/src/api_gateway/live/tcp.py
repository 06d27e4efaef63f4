"""TCP doors: live protocols whose clients connect without HTTP."""

import asyncio
import math
from collections import deque
from collections.abc import Iterable
from typing import Final

import structlog

from api_gateway.dependencies import Services
from api_gateway.doors.base import Message
from api_gateway.doors.framing import Framing
from api_gateway.doors.table import Door, TcpDoor
from api_gateway.handshake import Handshake
from api_gateway.live.serve import serve
from api_gateway.live.transport import ClientDisconnected
from api_gateway.server.connections import Connections
from parlando.errors import TooBigError
from parlando.tasks import end

READ: Final = 1 << 16  # bytes read at a time
FIRST_MESSAGE: Final = 1 << 16  # maximum bytes of the first message, before the key is checked
CLOSE_S: Final = 5.0  # to send what is buffered when a connection is closed

log = structlog.get_logger(part="tcp")


class TcpTransport:
    """See `transport.Transport`, and `connections.Connection`."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        framing: Framing,
        *,
        max_message: int,
        deadline: float,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._framing = framing
        self._max_message = max_message
        self._messages: deque[Message] = deque()
        self._sending = asyncio.Lock()
        self.deadline = deadline
        self.stalled_since = math.inf

    @property
    def socket(self) -> asyncio.WriteTransport:
        """See `connections.Connection`."""
        return self._writer.transport

    def expire(self) -> None:
        """See `connections.Connection`: no message arrived in time."""
        self._writer.transport.abort()

    async def receive(self) -> Message:
        """See `Transport`.

        Raises
        ------
        ClientDisconnected
        TooBigError
            if a message is longer than the limit.
        InvalidRequestError
            if the bytes are not a message.

        """
        while not self._messages:
            try:
                data = await self._reader.read(READ)
            except ConnectionError as error:
                raise ClientDisconnected from error
            if not data:
                raise ClientDisconnected
            self._messages.extend(self._framing.push(data))
            limit = self._max_message if self.deadline == math.inf else FIRST_MESSAGE
            if self._framing.pending > limit:
                raise TooBigError(f"Expected a message of at most {limit >> 10} KB")
        self.deadline = math.inf
        return self._messages.popleft()

    async def send(self, message: Message) -> None:
        """See `Transport`."""
        async with self._sending:
            try:
                self._writer.write(self._framing.pack(message))
                self.stalled_since = asyncio.get_running_loop().time()
                await self._writer.drain()
            except ConnectionError as error:
                raise ClientDisconnected from error
            finally:
                self.stalled_since = math.inf

    async def close(self, code: int, reason: str = "") -> None:
        """See `Transport`: TCP has no close codes."""
        log.debug("tcp.closed", code=code, reason=reason)
        self._writer.close()


class TcpServer:
    """Listens for the clients of one TCP door."""

    def __init__(self, door: TcpDoor, services: Services, connections: Connections) -> None:
        self._door = door
        self._services = services
        self._connections = connections
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """Listen. Raises `OSError` if the port is taken."""
        self._server = await asyncio.start_server(self._connected, host, port)
        log.info("tcp.listening", door=self._door.name, host=host, port=port)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._serve(reader, writer))
        self._clients.add(task)
        task.add_done_callback(self._clients.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        settings = self._services.settings
        peer = str(writer.get_extra_info("peername")[0])
        transport = TcpTransport(
            reader,
            writer,
            self._door.framing(),
            max_message=settings.max_message_kb << 10,
            deadline=asyncio.get_running_loop().time() + settings.head_timeout_s,
        )
        try:
            if self._connections.add(transport, peer) is None:
                protocol = self._door.protocol(Handshake(peer=peer, over_http=False))
                await serve(transport, protocol, self._services, door=self._door.name)
                async with asyncio.timeout(CLOSE_S):
                    await writer.wait_closed()
        except (TimeoutError, ConnectionError):
            pass  # the client has disconnected, or doesn't read the rest
        finally:
            self._connections.remove(transport)
            writer.transport.abort()

    async def aclose(self) -> None:
        """Stop listening, and end the connections. Their sessions can be resumed."""
        if self._server is not None:
            self._server.close()
        await end(*self._clients)


async def open_tcp_doors(
    doors: Iterable[Door], services: Services, connections: Connections
) -> list[TcpServer]:
    """Open a port for each TCP door that `TCP_DOORS` or a setting of its own names.

    Raises
    ------
    ValueError
        if no TCP door has that name.
    OSError
        if a port is taken.

    """
    known = {door.name: door for door in doors if isinstance(door, TcpDoor)}
    servers = []
    for name, port in services.settings.tcp_ports.items():
        if name not in known:
            names = ", ".join(known) or "none"
            raise ValueError(f"TCP_DOORS: expected the name of a TCP door ({names}), got {name!r}")
        door = known[name]
        settings = services.settings
        server = TcpServer(door, services, connections)
        await server.start(settings.keyless_host if door.protocol.keyless else settings.listen_host, port)
        servers.append(server)
    return servers
