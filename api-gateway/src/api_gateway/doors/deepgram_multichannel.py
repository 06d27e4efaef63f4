"""Deepgram's `multichannel=true`: each channel of a connection is a session. Pure."""

from collections.abc import Sequence

import numpy as np
import orjson

from api_gateway.doors.base import LiveProtocol, Message, Refusal, SplitProtocol
from api_gateway.doors.deepgram import Listen
from api_gateway.doors.deepgram_options import listen_options
from api_gateway.doors.deepgram_wire import IDLE_S, DeepgramConnection, Stream, refusal_of
from api_gateway.handshake import Handshake
from parlando.domain.audio import WholeFrames
from parlando.errors import ParlandoError


class MultichannelListen(DeepgramConnection, SplitProtocol):
    """`multichannel=true`: each channel is recognised in a session of its own."""

    idle_s: float | None = IDLE_S

    def __init__(self, handshake: Handshake) -> None:
        super().__init__(handshake)
        self._stream: Stream | None = None
        self._frames = WholeFrames(1)

    def channels(self, first: Message | None) -> Sequence[LiveProtocol]:
        """As many as the query's `channels`."""
        options = listen_options(self.handshake)
        self._stream = Stream(options, self._request_id, options.channels)
        self._frames = WholeFrames(options.format.frame_bytes)
        return [Listen(self.handshake, index=index, stream=self._stream) for index in range(options.channels)]

    def split(self, message: Message) -> Sequence[tuple[int, Message]]:
        """Audio by channel; a `Finalize` of one channel to it; other messages to all."""
        assert self._stream is not None
        count = self._stream.options.channels
        if isinstance(message, bytes):
            self._stream.digest.update(message)
            return self._split_audio(message, count)
        try:
            body = orjson.loads(message)
        except orjson.JSONDecodeError:
            return [(0, message)]
        match body:
            case {"type": "Finalize", "channel": int(index)} if 0 <= index < count:
                return [(index, message)]
            case {"type": "Finalize" | "CloseStream" | "Configure" | "KeepAlive" as kind}:
                if kind == "CloseStream":  # the client waits for the rest of its text, however long it takes
                    self.idle_s = None
                return [(index, message) for index in range(count)]
        return [(0, message)]

    def _split_audio(self, data: bytes, count: int) -> list[tuple[int, Message]]:
        assert self._stream is not None
        form = self._stream.options.format
        if form.whole:  # the audio-processor finds the channel in the container
            return [(index, data) for index in range(count)]
        frames = self._frames.push(data)
        if not frames:
            return []
        samples = np.frombuffer(frames, np.uint8).reshape(-1, count, form.frame_bytes // count)
        return [(index, samples[:, index].tobytes()) for index in range(count)]

    def refusal(self, error: ParlandoError) -> Refusal:
        """See `refusal_of`."""
        return refusal_of(error)


def listen(handshake: Handshake) -> Listen | MultichannelListen:
    """The protocol of a connection to `/v1/listen`."""
    if handshake.query.get("multichannel", "").lower() in ("true", "1"):
        return MultichannelListen(handshake)
    return Listen(handshake)
