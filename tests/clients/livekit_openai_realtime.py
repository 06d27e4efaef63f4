"""LiveKit's OpenAI plug-in, streaming: livekit_openai_realtime.py <base url> <key> <16 kHz PCM> <last words>.

Prints its speech events, until a final text ends with the last words.
"""

import asyncio
import json
import sys
from pathlib import Path

import aiohttp
from livekit import rtc
from livekit.agents import stt
from livekit.agents.utils import http_context
from livekit.plugins import openai

RATE = 16_000
FRAME = RATE // 50 * 2  # bytes of 20 ms


async def main(base: str, key: str, pcm: bytes, last: str) -> None:
    async with aiohttp.ClientSession() as session:
        http_context._new_session_ctx()
        engine = openai.STT(base_url=base, api_key=key, use_realtime=True)
        engine._session = session
        stream = engine.stream()

        async def talk() -> None:
            for at in range(0, len(pcm), FRAME):
                data = pcm[at : at + FRAME]
                stream.push_frame(rtc.AudioFrame(data, RATE, 1, len(data) // 2))
                await asyncio.sleep(0.006)

        talking = asyncio.create_task(talk())
        async for event in stream:
            texts = [alternative.text for alternative in event.alternatives]
            print(json.dumps({"type": event.type.value, "text": "".join(texts)}), flush=True)
            final = event.type == stt.SpeechEventType.FINAL_TRANSCRIPT
            if final and texts and texts[0].lower().rstrip(".!?").endswith(last):
                break
        await talking
        await stream.aclose()
        await engine.aclose()


asyncio.run(main(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_bytes(), sys.argv[4]))
