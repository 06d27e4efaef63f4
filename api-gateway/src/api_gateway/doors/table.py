"""The table of live protocols. To add one, add a file to this folder and a line here."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from api_gateway.doors.assemblyai import AssemblyAi
from api_gateway.doors.base import ConnectionProtocol, LiveProtocol
from api_gateway.doors.deepgram_flux import Flux
from api_gateway.doors.deepgram_multichannel import listen
from api_gateway.doors.framing import Framing
from api_gateway.doors.native import Native
from api_gateway.doors.omi_socket import OmiSocket
from api_gateway.doors.omniasr import OmniAsr
from api_gateway.doors.openai_realtime import OpenAIRealtime
from api_gateway.doors.twilio import Twilio
from api_gateway.doors.vosk import Vosk
from api_gateway.doors.wyoming import Wyoming
from api_gateway.doors.wyoming_framing import WyomingFraming
from api_gateway.handshake import Handshake
from parlando import plugins


@dataclass(frozen=True, slots=True)
class WebSocketDoor:
    """A protocol over WebSockets, at one or several paths.

    `protocol`: a subclass of `LiveProtocol` or `SplitProtocol`, or a function that chooses one.
    """

    name: str
    protocol: Callable[[Handshake], ConnectionProtocol]
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TcpDoor:
    """A protocol over plain TCP. It listens on the port that `TCP_DOORS` or `WYOMING_PORT` names, if any."""

    name: str
    protocol: type[LiveProtocol]
    framing: type[Framing]


Door = WebSocketDoor | TcpDoor

DOORS: Final[tuple[Door, ...]] = (
    WebSocketDoor("native", Native, ("/v1/stt/stream",)),
    WebSocketDoor("omi", OmiSocket, ("/omi/stt", "/omi/{key}/stt")),
    WebSocketDoor("deepgram", listen, ("/v1/listen",)),
    WebSocketDoor("deepgram-flux", Flux, ("/v2/listen",)),
    WebSocketDoor("twilio", Twilio, ("/twilio/{key}",)),
    WebSocketDoor("openai-realtime", OpenAIRealtime, ("/v1/realtime",)),
    WebSocketDoor("omniasr", OmniAsr, ("/v1/audio/transcriptions",)),
    WebSocketDoor("assemblyai", AssemblyAi, ("/v3/ws",)),
    WebSocketDoor("vosk", Vosk, ("/vosk",)),
    TcpDoor("wyoming", Wyoming, WyomingFraming),
)


def load(further: Sequence[str] = ()) -> tuple[Door, ...]:
    """`DOORS` and the `further` ones: each `package.module:name` of a door or a sequence of doors.

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
