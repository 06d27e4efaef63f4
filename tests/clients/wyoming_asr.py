"""Wyoming's official client: utterances of 16 kHz PCM files on one connection, as Home Assistant sends them.

Arguments: the port, and for each utterance `<file>[:<language>]`. It prints each event that it receives.
`wait` instead of a file: it prints "waiting" and goes on after a line on standard input. A file after which
no `audio-stop` shall come has a `+` at its end; the next file continues it.
"""

import asyncio
import json
import sys
from pathlib import Path

from wyoming.asr import Transcribe, Transcript, TranscriptStop
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncClient
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong

FORMAT = {"rate": 16000, "width": 2, "channels": 1}


def read(utterances: tuple[str, ...]) -> dict[str, bytes]:
    names = [utterance.removesuffix("+").partition(":")[0] for utterance in utterances]
    return {name: Path(name).read_bytes() for name in names if name != "wait"}


async def main(port: str, *utterances: str) -> None:
    files = await asyncio.to_thread(read, utterances)
    async with AsyncClient.from_uri(f"tcp://127.0.0.1:{port}") as client:
        await client.write_event(Ping(text="hello").event())
        pong = Pong.from_event(await client.read_event())
        print(json.dumps(["pong", pong.text]), flush=True)
        await client.write_event(Describe().event())
        info = Info.from_event(await client.read_event())
        print(json.dumps(["info", info.to_dict()]), flush=True)
        begun = False
        for utterance in utterances:
            if utterance == "wait":
                print(json.dumps(["waiting", {}]), flush=True)
                await asyncio.to_thread(sys.stdin.readline)
                continue
            name, _, language = utterance.removesuffix("+").partition(":")
            if not begun:
                await client.write_event(Transcribe(language=language or None).event())
                await client.write_event(AudioStart(**FORMAT).event())
            audio = files[name]
            for at in range(0, len(audio), 2048):
                await client.write_event(AudioChunk(audio=audio[at : at + 2048], **FORMAT).event())
            begun = utterance.endswith("+")
            if begun:
                continue
            await client.write_event(AudioStop().event())
            while True:
                event = await client.read_event()
                if event is None:
                    print(json.dumps(["disconnected", {}]), flush=True)
                    return
                print(json.dumps([event.type, event.data]), flush=True)
                if Transcript.is_type(event.type):
                    assert Transcript.from_event(event).text == event.data["text"]
                if TranscriptStop.is_type(event.type):
                    break


asyncio.run(main(*sys.argv[1:]))
