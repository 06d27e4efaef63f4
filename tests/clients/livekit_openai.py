"""LiveKit's OpenAI plug-in: recognises each file of 16 kHz PCM, and prints the text.

Arguments: the base URL, the files.
"""

import asyncio
import json
import sys
from pathlib import Path

from livekit import rtc
from livekit.plugins import openai

RATE = 16_000


async def main(base_url: str, utterances: list[bytes]) -> None:
    stt = openai.STT(base_url=base_url, api_key="not-needed")
    for audio in utterances:
        frame = rtc.AudioFrame(audio, RATE, 1, len(audio) // 2)
        event = await stt.recognize(frame)
        text = event.alternatives[0].text
        print(json.dumps({"type": event.type.value, "text": text}), flush=True)
    await stt.aclose()


asyncio.run(main(sys.argv[1], [Path(name).read_bytes() for name in sys.argv[2:]]))
