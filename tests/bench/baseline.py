"""The policy of comparable open-source servers, with our engine: python -m bench.baseline PORT

One process per core accepts sockets and decodes all of them. After every 500 ms of new audio the whole
utterance is decoded again, without prefix or draft; LocalAgreement-2 makes words stable; the final is decoded
after 500 ms of silence; one lock protects the engine. No Redis, no takeover, no back-pressure. The voice
detector, the weights and the decoder are ours, so that only the policy differs.
"""

import asyncio
import sys
from itertools import takewhile

import numpy as np
import orjson
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from parlando import vad
from parlando.domain.audio import to_float
from parlando.domain.transcript import bare
from parlando.models.catalogue import MOONSHINE_TINY
from parlando.models.store import ModelStore
from parlando.vad import FRAME
from transcriber.engines.base import Window
from transcriber.engines.moonshine import MoonshineEngine

RATE = 16_000
EVERY = RATE // 2  # new samples between two decodes
ENDPOINT = RATE // 2
BEFORE = RATE // 2  # samples kept before speech
LONGEST = 15 * RATE
THRESHOLD = 0.5


class Hearing:
    """One socket's audio."""

    def __init__(self, server: "Server", socket: ServerConnection) -> None:
        self._server = server
        self._socket = socket
        self._vad = server.vad.stream()
        self._unheard = np.zeros(0, np.int16)  # less than one frame of the detector
        self._audio = np.zeros(0, np.float32)  # from `_start` on, or the last `BEFORE` samples of silence
        self._start = 0
        self._received = 0
        self._segment = 0
        self._seq = 0
        self._open = False
        self._quiet = 0
        self._decoded = 0
        self._before: list[str] = []
        self._stable = 0

    async def take(self, pcm: bytes) -> None:
        """Process a message's audio, and send partials and finals."""
        samples = np.concatenate([self._unheard, np.frombuffer(pcm, "<i2")])
        whole = len(samples) // FRAME * FRAME
        self._unheard = samples[whole:]
        self._received += whole
        heard = to_float(samples[:whole])
        for number, probability in enumerate(self._vad.push(heard) if whole else ()):
            await self._frame(heard[number * FRAME : (number + 1) * FRAME], probability)

    async def _frame(self, frame: np.ndarray, probability: float) -> None:
        self._audio = np.concatenate([self._audio, frame])
        self._quiet = 0 if probability >= THRESHOLD else self._quiet + FRAME
        if not self._open:
            if probability >= THRESHOLD:
                self._open = True
                self._start = self._received - len(self._audio)
                self._decoded = 0
            else:
                self._audio = self._audio[-BEFORE:]
        elif self._quiet >= ENDPOINT or len(self._audio) >= LONGEST:
            await self._final()
        elif len(self._audio) - self._decoded >= EVERY:
            self._decoded = len(self._audio)
            await self._partial()

    async def _partial(self) -> None:
        words = await self._server.decode(self._audio)
        agreed = sum(
            1
            for _ in takewhile(
                lambda pair: bare(pair[0]) == bare(pair[1]), zip(self._before, words, strict=False)
            )
        )
        self._stable = max(self._stable, agreed)
        self._before = words
        end = (self._start + self._decoded) / RATE
        await self._say(
            type="partial",
            segment=self._segment,
            text=" ".join(words),
            stable=" ".join(words[: self._stable]),
            start=self._start / RATE,
            end=end,
            lag_ms=round((self._received / RATE - end) * 1000),
        )

    async def _final(self) -> None:
        words = await self._server.decode(self._audio)
        self._seq += 1
        end = (self._start + len(self._audio) - self._quiet) / RATE
        await self._say(
            type="final",
            seq=self._seq,
            segment=self._segment,
            text=" ".join(words),
            start=self._start / RATE,
            end=end,
        )
        self._segment += 1
        self._open, self._audio, self._before, self._stable = False, self._audio[-BEFORE:], [], 0

    async def end(self) -> None:
        """Decode the final of the open utterance."""
        if self._open:
            await self._final()
        duration = (self._received + len(self._unheard)) / RATE
        await self._say(
            type="closed", seq=self._seq + 1, duration=duration, segments=self._segment, reason="end"
        )

    async def _say(self, **message: object) -> None:
        await self._socket.send(orjson.dumps(message).decode())


class Server:
    """One process: one engine, one lock."""

    def __init__(self) -> None:
        self.vad = vad.load("silero")
        self._engine = MoonshineEngine(ModelStore().path(MOONSHINE_TINY))
        self._lock = asyncio.Lock()

    async def decode(self, audio: np.ndarray) -> list[str]:
        """The words of a whole utterance."""
        async with self._lock:
            window = Window(audio)
            (hypothesis,) = await asyncio.to_thread(self._engine.transcribe, [window])
        return [word.text for word in hypothesis.words]

    async def handle(self, socket: ServerConnection) -> None:
        """Serve one socket."""
        file_session = Hearing(self, socket)
        await socket.send('{"type":"connected"}')
        try:
            async for message in socket:
                if isinstance(message, bytes):
                    await file_session.take(message)
                elif orjson.loads(message)["type"] == "end":
                    await file_session.end()
                    return
        except ConnectionClosed:
            return


async def main() -> None:
    """Serve until killed."""
    async with serve(Server().handle, "127.0.0.1", int(sys.argv[1]), max_queue=None):
        print("ready", flush=True)
        await asyncio.Future()


if __name__ == "__main__":
    asyncio.run(main())
