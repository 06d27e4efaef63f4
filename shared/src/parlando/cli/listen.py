"""`parlando listen`: live transcription of the microphone."""

import asyncio
from typing import Any, Final

from parlando.cli.captions import Captions
from parlando.cli.live import CONNECT_S
from parlando.cli.microphone import sounddevice
from parlando.client import ClientError, connect
from parlando.domain.audio import SAMPLE_RATE
from parlando.tasks import end

FRAME: Final = SAMPLE_RATE // 25  # samples: 40 ms
MAX_WAITING: Final = 500  # maximum frames waiting to be sent; newer ones are dropped


async def run(*, url: str, key: str | None, options: dict[str, Any]) -> None:
    """Send the microphone's audio until Ctrl-C and show the captions. `options`: of the session.

    Raises `ClientError`.
    """
    sound = sounddevice()
    loop = asyncio.get_running_loop()
    frames: asyncio.Queue[bytes] = asyncio.Queue(MAX_WAITING)

    def take(data: Any, count: int, times: Any, status: Any) -> None:
        loop.call_soon_threadsafe(_put, frames, bytes(data))

    try:
        microphone = sound.RawInputStream(SAMPLE_RATE, FRAME, channels=1, dtype="int16", callback=take)
    except sound.PortAudioError as error:
        raise ClientError("no_microphone", f"No microphone can be opened: {error}") from error
    with Captions() as captions, microphone:
        async with connect(
            url.replace("http", "ws", 1), api_key=key, connect_s=CONNECT_S, **options
        ) as session:

            async def send() -> None:
                try:
                    while True:
                        await session.send(await frames.get())
                finally:
                    await session.end()

            sending = asyncio.create_task(send())
            loop.add_signal_handler(2, sending.cancel)  # Ctrl-C: remaining audio is still transcribed
            try:
                async for event in session:
                    captions.show(event)
            finally:
                await end(sending)


def _put(frames: asyncio.Queue[bytes], data: bytes) -> None:
    if not frames.full():
        frames.put_nowait(data)
