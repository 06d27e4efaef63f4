"""LiveKit's Deepgram plugin: python deepgram_livekit.py <http://host:port> <raw pcm> <1|2>.

Prints its speech events. 1 is `STT` (`/v1/listen`), 2 `STTv2` (`/v2/listen`). With 1 the file is then
recognised at once, too.
"""

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
from livekit import rtc
from livekit.plugins import deepgram

RATE = 16_000
FRAME = 640  # bytes: 20 ms


def frame_of(pcm: bytes) -> rtc.AudioFrame:
    return rtc.AudioFrame(pcm, RATE, 1, len(pcm) // 2)


def show(event) -> None:
    shown = {"type": str(event.type.value if hasattr(event.type, "value") else event.type)}
    if event.alternatives:
        shown["text"] = event.alternatives[0].text
        shown["times"] = [event.alternatives[0].start_time, event.alternatives[0].end_time]
    print(json.dumps(shown))


async def main(base: str, pcm: bytes, version: str) -> None:
    async with aiohttp.ClientSession() as session:
        if version == "1":
            engine = deepgram.STT(api_key="key", base_url=f"{base}/v1/listen", http_session=session)
        else:
            live = base.replace("http", "ws", 1)
            engine = deepgram.STTv2(api_key="key", base_url=f"{live}/v2/listen", http_session=session)
        stream = engine.stream()

        async def talk() -> None:
            for at in range(0, len(pcm), FRAME):
                stream.push_frame(frame_of(pcm[at : at + FRAME]))
                await asyncio.sleep(0.006)
            stream.end_input()

        talking = asyncio.create_task(talk())
        async for event in stream:
            show(event)
        await talking
        await stream.aclose()
        if version == "1":
            answer = await engine.recognize(frame_of(pcm))
            print(json.dumps({"type": "recognized", "text": answer.alternatives[0].text}))


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes(), sys.argv[3]))
