"""The first messages of a connection, before its sessions are open."""

import asyncio
from collections.abc import Sequence
from typing import Final

from api_gateway.dependencies import Services
from api_gateway.doors.base import (
    ClientCommand,
    ConnectionProtocol,
    Describe,
    Described,
    LiveProtocol,
    Message,
    MessageError,
    Notice,
    Ping,
    Pong,
    Reply,
    SplitProtocol,
)
from api_gateway.live.connection import MAX_INVALID
from api_gateway.live.ends import IdleError
from api_gateway.live.transport import Transport
from parlando.domain.formats import MAX_CHANNELS
from parlando.errors import InvalidRequestError

MAX_FIRST_MESSAGES: Final = 8
"""Messages that a client may send before the one that names the channels of a `SplitProtocol`."""


def channels_of(protocol: ConnectionProtocol, first: Message | None) -> Sequence[LiveProtocol] | None:
    """The protocols of a connection's channels; None if they aren't known yet."""
    if isinstance(protocol, SplitProtocol):
        channels = protocol.channels(first)
        if channels is not None and not 0 < len(channels) <= MAX_CHANNELS:
            raise InvalidRequestError(f"Expected 1 to {MAX_CHANNELS} channels, but got {len(channels)}")
        return channels
    assert isinstance(protocol, LiveProtocol)
    return [protocol]


async def first_channels(transport: Transport, protocol: SplitProtocol) -> Sequence[LiveProtocol]:
    """The channels, known at once or from one of the first messages. Raises `InvalidRequestError`."""
    if not protocol.first_message_s:
        return channels_of(protocol, None) or []
    try:
        async with asyncio.timeout(protocol.first_message_s):
            for _ in range(MAX_FIRST_MESSAGES):
                channels = channels_of(protocol, await transport.receive())
                if channels is not None:
                    return channels
    except TimeoutError:
        pass
    raise InvalidRequestError(
        f"Expected a message that names the channels, among the first {MAX_FIRST_MESSAGES} and within "
        f"{protocol.first_message_s:g} s"
    )


async def first_commands(
    transport: Transport, protocol: LiveProtocol, services: Services
) -> Sequence[ClientCommand]:
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
                case Reply(messages):
                    for each in messages:
                        await transport.send(each)
                case Describe():
                    await _tell(transport, protocol, await described(services))
                case _:
                    return commands[place:]


async def _tell(transport: Transport, protocol: LiveProtocol, notice: Notice) -> None:
    for message in protocol.notice(notice):
        await transport.send(message)


async def described(services: Services) -> Described:
    """The answer to `Describe`."""
    return Described(await services.admission.pools())
