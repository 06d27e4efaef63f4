"""Serves one live connection from its first byte to its close code, over any protocol and transport."""

import asyncio
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final, Protocol

import structlog

from api_gateway import metrics
from api_gateway.auth import Principal, authenticate_address
from api_gateway.dependencies import Services
from api_gateway.doors.base import (
    ClientCommand,
    ConnectionProtocol,
    Denial,
    LiveProtocol,
    Message,
    SessionRequest,
    SplitProtocol,
    Start,
)
from api_gateway.limits.sessions import SessionMeter
from api_gateway.live.connection import LiveConnection
from api_gateway.live.ends import IdleError, SessionFinished, primary_error
from api_gateway.live.first_messages import channels_of, described, first_channels, first_commands
from api_gateway.live.opening import Opened, Opening
from api_gateway.live.quotas import watch_of
from api_gateway.live.shared_transport import SharedTransport
from api_gateway.live.token_sessions import TokenSessions
from api_gateway.live.transport import ClientDisconnected, Transport
from api_gateway.permissions import door_rule
from api_gateway.presenters.error_mapping import retry_after_s
from parlando import tracing
from parlando.domain.commands import End
from parlando.errors import KeyEndedError, ParlandoError
from parlando.store.key_ring import Watch
from parlando.store.relay import AnnotationsFrom, Relay

END_S: Final = 1.0
"""Seconds within which the sessions of a key that has become invalid are ended."""

log = structlog.get_logger(part="live")


class HandshakeAnswer(Protocol):
    """Answers the handshake of a transport."""

    async def accept(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        """Accept. `headers`: names and values to add to the response."""
        ...

    async def deny(self, denial: Denial) -> None:
        """Refuse."""
        ...


class _NoHandshake:
    """Of transports without a handshake."""

    async def accept(self, headers: Sequence[tuple[str, str]] = ()) -> None:
        pass

    async def deny(self, denial: Denial) -> None:
        pass


@dataclass(frozen=True, slots=True)
class _Channel:
    """A protocol with its session."""

    protocol: LiveProtocol
    opening: Opening
    request: SessionRequest
    session: Opened


async def serve(
    transport: Transport,
    protocol: ConnectionProtocol,
    services: Services,
    *,
    door: str,
    answer: HandshakeAnswer | None = None,
) -> None:
    """Serve one client until it disconnects, its sessions have closed, or its key becomes invalid.

    `door`: the protocol's name, to which keys may be limited.

    Every error is sent to the client: as an HTTP response before the handshake is answered, as messages and a
    close code after it.
    """
    answer = answer or _NoHandshake()
    opened: list[_Channel] = []
    caller = Principal()
    headers: list[tuple[str, str]] = []
    if protocol.refuses_handshake or protocol.opens_before_answer:
        try:
            caller = await _authenticated(protocol, services, door)
            if protocol.opens_before_answer:
                opened = await _open_all(channels_of(protocol, None) or [], services, caller)
                headers = [header for each in opened for header in each.protocol.answer_headers(each.session)]
        except ParlandoError as error:
            metrics.REFUSED.labels(error.code).inc()
            await _denied(answer, protocol, error)
            return
        except Exception:
            log.exception("handshake.failed")
            metrics.REFUSED.labels("internal").inc()
            await _denied(answer, protocol, _internal())
            return
    await answer.accept(headers)
    async with counted(transport, protocol):
        if opened:
            await _run_while_valid(caller, transport, protocol, services, opened)
        elif isinstance(protocol, SplitProtocol):
            caller = await _authenticated(protocol, services, door)
            protocols = await first_channels(transport, protocol)
            opened = await _open_all(protocols, services, caller)
            await _run_while_valid(caller, transport, protocol, services, opened)
        elif isinstance(protocol, LiveProtocol):
            if protocol.keyless or protocol.handshake.over_http:
                caller = await _authenticated(protocol, services, door)
                first = await first_commands(transport, protocol, services)
            else:  # without headers, the key can only be in the first message
                first = await first_commands(transport, protocol, services)
                caller = await _authenticated(protocol, services, door)
            opened = await _open_all([protocol], services, caller, first[0] if first else None)
            await _run_while_valid(caller, transport, protocol, services, opened, first)


async def _denied(answer: HandshakeAnswer, protocol: ConnectionProtocol, error: ParlandoError) -> None:
    denial = protocol.denial(error)
    if denial.status in (402, 429, 503):
        denial = replace(denial, headers={"Retry-After": str(retry_after_s(error))})
    with suppress(ClientDisconnected):
        await answer.deny(denial)


def _internal() -> ParlandoError:
    return ParlandoError("Internal error; the gateway's log has the details")


async def _authenticated(protocol: ConnectionProtocol, services: Services, door: str) -> Principal:
    """Who connects; it counts as a request. The claims of an access token are given to the protocol.

    Raises
    ------
    NotAllowedError, RateLimitedError

    """
    if protocol.keyless:
        caller = authenticate_address(protocol.handshake, services.settings)
        (await services.limits.requests.take(caller.holder)).check()
        return caller
    caller = await services.access.authenticate(protocol.handshake, door_rule(door), offered=protocol.key)
    protocol.claims = caller.claims
    protocol.verify(services.settings)
    (await services.limits.requests.take(caller.holder)).check()
    return caller


# --- opening ----------------------------------------------------------------------------------------


async def _open_all(
    protocols: Sequence[LiveProtocol],
    services: Services,
    caller: Principal,
    first: ClientCommand | None = None,
) -> list[_Channel]:
    """Open a session for each protocol, or none: if one is refused, those already open are ended."""
    opened: list[_Channel] = []
    counted_sessions = TokenSessions(services.access.ring.keys, caller)
    try:
        for protocol in protocols:
            request = protocol.request(first)
            # Only the first one waits for a place: the others would hold theirs meanwhile.
            opening = Opening(services, caller, counted_sessions, waits=not opened)
            session = await opening.open(request)
            opened.append(_Channel(protocol, opening, request, session))
    except BaseException as error:
        await counted_sessions.release()
        if isinstance(error, ParlandoError):
            for channel in opened:
                await channel.session.writer.command(End(reason="refused", discard=True))
                await services.limits.sessions.release(caller.holder, channel.session.id)
        raise
    return opened


# --- running ----------------------------------------------------------------------------------------


async def _run_while_valid(
    caller: Principal,
    transport: Transport,
    protocol: ConnectionProtocol,
    services: Services,
    channels: Sequence[_Channel],
    first: Sequence[ClientCommand] = (),
) -> None:
    """As `_run_all`. Raises `KeyEndedError` when the caller's key becomes invalid, and ends the sessions."""
    try:
        with Watch() as watch:
            if caller.key_id:
                watch.follow(services.access.ring, caller.key_id, caller.version)
            await _run_all(transport, protocol, services, channels, first)
    except KeyEndedError:
        with suppress(ParlandoError, TimeoutError):
            async with asyncio.timeout(END_S):
                for channel in channels:
                    await channel.session.writer.command(End(reason="revoked"))
                    await services.limits.sessions.release(caller.holder, channel.session.id)
        raise


async def _run_all(
    transport: Transport,
    protocol: ConnectionProtocol,
    services: Services,
    channels: Sequence[_Channel],
    first: Sequence[ClientCommand],
) -> None:
    """Serve the sessions of one connection. Raises as `LiveConnection.run`."""
    if not isinstance(protocol, SplitProtocol):
        [channel] = channels
        await _run(transport, channel, services, first)
        return
    idle_s = services.settings.idle_timeout_s
    shared = SharedTransport(transport, protocol, len(channels), default_idle_s=idle_s)
    for channel in channels:
        channel.protocol.idle_s = math.inf  # `SharedTransport` measures it for all of them
    ends: list[SessionFinished] = []

    async def run_one(index: int, channel: _Channel) -> None:
        try:
            await _run(shared.channels[index], channel, services, ())
        except SessionFinished as finished:
            ends.append(finished)
            shared.channels[index].finish()

    async def run_every() -> None:
        async with asyncio.TaskGroup() as group:
            for index, channel in enumerate(channels):
                group.create_task(run_one(index, channel))
        pump.cancel()

    try:
        async with asyncio.TaskGroup() as group:
            pump = group.create_task(shared.run())
            group.create_task(run_every())
    except ExceptionGroup as errors:
        raise primary_error(errors) from None
    raise max(ends, key=lambda finished: finished.code)  # 1000 only if every session ended well


async def _run(
    transport: Transport, channel: _Channel, services: Services, first: Sequence[ClientCommand]
) -> None:
    trace = tracing.session if channel.session.resumed else tracing.root
    with trace(channel.session.id):
        await _run_session(transport, channel, services, first)


async def _run_session(
    transport: Transport, channel: _Channel, services: Services, first: Sequence[ClientCommand]
) -> None:
    protocol, request, session = channel.protocol, channel.request, channel.session
    meter = channel.opening.meter(session, request)
    await _greet(transport, protocol, session, meter)
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
            window_s=request.window_s,
            reformat=lambda form: channel.opening.reformat(session, form),
            check=lambda changes: channel.opening.check(session, changes),
            describe=lambda: described(services),
            quotas=watch_of(meter),
        )
        try:
            await live.run(first[1:] if first and isinstance(first[0], Start) else first)
        except (SessionFinished, IdleError):
            await meter.release()
            raise
        except ClientDisconnected:
            await live.leave()
            raise


async def _greet(transport: Transport, protocol: LiveProtocol, session: Opened, meter: SessionMeter) -> None:
    """Send the greeting. If the client has left while it waited for a place, end the session.

    No client has the token that resumes it, and other sessions may wait for its place.
    """
    try:
        for message in protocol.greeting(session):
            await transport.send(message)
    except ClientDisconnected:
        if not session.resumed:
            with suppress(ParlandoError):  # or it ends with its resume window
                await session.writer.command(End(reason="disconnected"))
                await meter.release()
        raise


@asynccontextmanager
async def counted(transport: Transport, protocol: ConnectionProtocol) -> AsyncIterator[None]:
    """Count a connection, and close it with a close code however the block ends.

    An unexpected error is logged, and sent to the client as `internal`.
    """
    metrics.CONNECTIONS.inc()
    try:
        try:
            yield
        except SessionFinished as finished:
            await transport.close(finished.code, finished.reason)
        except ParlandoError as error:
            metrics.REFUSED.labels(error.code).inc()
            await _refuse(transport, protocol, error)
        except ClientDisconnected:
            raise
        except Exception:
            log.exception("connection.failed")
            metrics.REFUSED.labels("internal").inc()
            await _refuse(transport, protocol, _internal())
    except ClientDisconnected:
        return
    finally:
        metrics.CONNECTIONS.dec()


async def _refuse(transport: Transport, protocol: ConnectionProtocol, error: ParlandoError) -> None:
    refusal = protocol.refusal(error)
    messages: Sequence[Message] = refusal.messages
    for message in messages:
        await transport.send(message)
    await transport.close(refusal.code, refusal.reason)
