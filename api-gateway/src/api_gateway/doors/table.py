"""The table of live protocols. A new one is a file in this folder and a line here."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from api_gateway.doors.base import LiveProtocol
from api_gateway.doors.framing import Framing
from api_gateway.doors.native import Native
from api_gateway.doors.omi_socket import OmiSocket
from parlando import plugins


@dataclass(frozen=True, slots=True)
class WebSocketDoor:
    """A protocol on WebSockets, at one or several paths."""

    name: str
    protocol: type[LiveProtocol]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TcpDoor:
    """A protocol on plain TCP. It listens where the setting `TCP_DOORS` names a port for it."""

    name: str
    protocol: type[LiveProtocol]
    framing: type[Framing]


Door = WebSocketDoor | TcpDoor

DOORS: Final[tuple[Door, ...]] = (
    WebSocketDoor("native", Native, ("/v1/stt/stream",)),
    WebSocketDoor("omi", OmiSocket, ("/omi/stt", "/omi/{key}/stt")),
)


def load(further: Sequence[str] = ()) -> tuple[Door, ...]:
    """The table, and the doors that `package.module:name` name (a door, or several).

    Raises
    ------
    PluginError

    """
    doors = list(DOORS)
    for place in further:
        found = plugins.load(place)
        added = [found] if isinstance(found, WebSocketDoor | TcpDoor) else found
        if not isinstance(added, list | tuple) or not all(
            isinstance(d, WebSocketDoor | TcpDoor) for d in added
        ):
            raise plugins.PluginError(f"{place}: expected a WebSocketDoor or TcpDoor, or a tuple of them")
        doors += added
    return tuple(doors)
