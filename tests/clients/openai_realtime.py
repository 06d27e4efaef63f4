"""OpenAI's Python library on a realtime transcription session.

openai_realtime.py <base url> <key> <ga or beta> <raw audio file> <steps, JSON>

A step is a list: ["update", session], ["append", from byte, to byte, bytes per message], ["commit"],
["clear"], ["raw", event], ["until", type of event, count], ["until silence"], which waits for an item without
text, or ["line"], which waits for a line on standard input.
Prints every event of the server, and then {"closed": code, "reason": …}.
"""

import asyncio
import base64
import json
import sys
from collections import Counter
from pathlib import Path

from openai import AsyncOpenAI
from websockets.exceptions import ConnectionClosed

COMPLETED = "conversation.item.input_audio_transcription.completed"


class Session:
    def __init__(self, connection, audio: bytes) -> None:
        self.connection = connection
        self.audio = audio
        self.seen = Counter()
        self.silences = 0
        self.news = asyncio.Condition()
        self.ended = asyncio.Event()

    async def receive(self) -> None:
        try:
            while True:
                event = await self.connection.recv()
                print(json.dumps(event.to_dict()), flush=True)
                async with self.news:
                    self.seen[event.type] += 1
                    self.silences += event.type == COMPLETED and not event.transcript
                    self.news.notify_all()
        except ConnectionClosed as closed:
            frame = closed.rcvd
            print(json.dumps({"closed": frame and frame.code, "reason": frame and frame.reason}), flush=True)
            self.ended.set()

    async def step(self, name: str, *given) -> None:
        connection = self.connection
        match name:
            case "update" if hasattr(connection, "transcription_session"):
                await connection.transcription_session.update(session=given[0])
            case "update":
                await connection.session.update(session=given[0])
            case "append":
                start, end, size = given
                for at in range(start, end, size):
                    chunk = self.audio[at : min(at + size, end)]
                    await connection.input_audio_buffer.append(audio=base64.b64encode(chunk).decode())
            case "commit":
                await connection.input_audio_buffer.commit()
            case "clear":
                await connection.input_audio_buffer.clear()
            case "raw":
                await connection.send(given[0])
            case "until":
                kind, count = given
                async with self.news:
                    await self.news.wait_for(lambda: self.seen[kind] >= count)
            case "until silence":
                async with self.news:
                    await self.news.wait_for(lambda: self.silences)
            case "line":
                await asyncio.to_thread(sys.stdin.readline)


async def main(base: str, key: str, flavour: str, path: str, steps: str) -> None:
    websocket_base = base.replace("http", "ws", 1)  # the library would take wss
    client = AsyncOpenAI(base_url=base, websocket_base_url=websocket_base, api_key=key, max_retries=0)
    intent = {"intent": "transcription"}
    if flavour == "beta":
        manager = client.beta.realtime.connect(model="gpt-4o-transcribe", extra_query=intent)
    else:
        manager = client.realtime.connect(extra_query=intent)
    async with manager as connection:
        session = Session(connection, Path(path).read_bytes())  # noqa: ASYNC240 before anything else runs
        receiving = asyncio.create_task(session.receive())
        ended = asyncio.create_task(session.ended.wait())
        for step in json.loads(steps):
            doing = asyncio.create_task(session.step(*step))
            await asyncio.wait([doing, ended], return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                doing.cancel()
                break
            await doing
        if not ended.done():
            await connection.close()
        await receiving


asyncio.run(main(*sys.argv[1:]))
