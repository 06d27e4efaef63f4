"""Serves one live connection from its first byte to its close code, over any protocol and transport."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import structlog

from api_gateway import metrics
from api_gateway.auth import Principal, authenticate_address
from api_gateway.dependencies import Services
from api_gateway.doors.base import (
    ClientCommand,
    Describe,
    Described,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    Ping,
    Pong,
    Start,
)
from api_gateway.live.connection import MAX_INVALID, IdleError, LiveConnection, SessionFinished
from api_gateway.live.opening import Opening
from api_gateway.live.relay import AnnotationsFrom, Relay
from api_gateway.live.transport import ClientDisconnected, Transport
from parlando.errors import InvalidRequestError, ParlandoError

log = structlog.get_logger(part="live")


async def _accepted() -> None:
    """Default of `accept`, for transports without a handshake."""


async def serve(
    transport: Transport,
    protocol: LiveProtocol,
    services: Services,
    *,
    accept: Callable[[], Awaitable[None]] = _accepted,
) -> None:
    """Serve one client until it disconnects or its session has closed.

    `accept`: answers the handshake. Every error is sent to the client before the close code.
    """
    if protocol.refuses_handshake:
        try:
            await _caller(protocol, services)
        except ParlandoError:
            await transport.close(1008)
            return
    await accept()
    async with counted(transport, protocol):
        if protocol.keyless or protocol.handshake.over_http:
            caller = await _caller(protocol, services)
            first = await _first(transport, protocol, services)
        else:  # without headers, the key can only be in the first message
            first = await _first(transport, protocol, services)
            caller = await _caller(protocol, services)
        await _serve(transport, protocol, services, caller, first)


async def _caller(protocol: LiveProtocol, services: Services) -> Principal:
    """Who connects. What an access token was issued with is given to the protocol."""
    if protocol.keyless:
        return authenticate_address(protocol.handshake, services.settings)
    caller = await services.access.authenticate(protocol.handshake, offered=protocol.key)
    protocol.claims = caller.claims
    return caller


async def _serve(
    transport: Transport,
    protocol: LiveProtocol,
    services: Services,
    caller: Principal,
    first: Sequence[ClientCommand],
) -> None:
    request = protocol.request(first[0] if first else None)
    opening = Opening(services, caller)
    session = await opening.open(request)
    for message in protocol.greeting(session):
        await transport.send(message)
    annotations = None
    if request.annotations:
        keys = services.annotations.of_session(session.id)
        annotations = AnnotationsFrom(services.annotations, keys, request.last_annotation)
    relay = Relay(services.history, services.channels, session.id, after=session.seq, annotations=annotations)
    async with relay:
        live = LiveConnection(
            transport,
            session.writer,
            relay,
            settings=services.settings,
            protocol=protocol,
            last_seq=session.seq,
            reformat=lambda form: opening.reformat(session, form),
            check=lambda changes: opening.check(session, changes),
            describe=lambda: _described(services),
        )
        try:
            await live.run(first[1:] if first and isinstance(first[0], Start) else first)
        except ClientDisconnected:
            await live.leave()
            raise


async def _first(transport: Transport, protocol: LiveProtocol, services: Services) -> Sequence[ClientCommand]:
    """The commands of the first message, if it arrives within the protocol's `first_message_s`.

    If the protocol opens its session when it is needed: the first commands that need one.
    """
    if protocol.opens_when_needed:
        return await _first_needed(transport, protocol, services)
    if not protocol.first_message_s:
        return ()
    try:
        async with asyncio.timeout(protocol.first_message_s):
            message = await transport.receive()
    except TimeoutError:
        return ()
    return protocol.commands(message)


async def _first_needed(
    transport: Transport, protocol: LiveProtocol, services: Services
) -> Sequence[ClientCommand]:
    """Answer what needs no session. Returns the first commands that need one.

    Raises
    ------
    IdleError, InvalidRequestError, ClientDisconnected

    """
    idle_s = protocol.idle_s or services.settings.idle_timeout_s
    invalid = 0
    while True:
        try:
            async with asyncio.timeout(idle_s):
                message = await transport.receive()
        except TimeoutError as error:
            raise IdleError(f"The client has sent nothing for {idle_s:g} s") from error
        try:
            commands = protocol.commands(message)
        except InvalidRequestError as error:
            invalid += 1
            if invalid >= MAX_INVALID:
                raise
            await _tell(transport, protocol, MessageError(error))
            continue
        for place, command in enumerate(commands):
            match command:
                case Ping():
                    await _tell(transport, protocol, Pong())
                case Describe():
                    await _tell(transport, protocol, await _described(services))
                case _:
                    return commands[place:]


async def _tell(transport: Transport, protocol: LiveProtocol, notice: Notice) -> None:
    for message in protocol.notice(notice):
        await transport.send(message)


async def _described(services: Services) -> Described:
    return Described(await services.admission.pools())


@asynccontextmanager
async def counted(transport: Transport, protocol: LiveProtocol) -> AsyncIterator[None]:
    """Count a connection, and close it with a close code however the block ends.

    An unexpected error is logged, and sent to the client as `internal`.
    """
    metrics.CONNECTIONS.inc()
    try:
        try:
            yield
        except SessionFinished as finished:
            await transport.close(finished.code)
        except ParlandoError as error:
            metrics.REFUSED.labels(error.code).inc()
            await _refuse(transport, protocol, error)
        except ClientDisconnected:
            raise
        except Exception:
            log.exception("connection.failed")
            metrics.REFUSED.labels("internal").inc()
            await _refuse(
                transport, protocol, ParlandoError("Internal error; the gateway's log has the details")
            )
    except ClientDisconnected:
        return
    finally:
        metrics.CONNECTIONS.dec()


async def _refuse(transport: Transport, protocol: LiveProtocol, error: ParlandoError) -> None:
    refusal = protocol.refusal(error)
    messages: Sequence[Message] = refusal.messages
    for message in messages:
        await transport.send(message)
    await transport.close(refusal.code, refusal.reason)
