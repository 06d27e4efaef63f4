"""Ten minutes of an Omi user's audio, speech and songs: `python -m bench.song_programme [speed]` in tests/.

Prints when each song was named after it had begun, what was named twice, and how many words of the speech are
missing. Half-way all song recognizers are killed and started again.
"""

import asyncio
import sys
import time

import httpx
import numpy as np

from bench.machine import describe
from support.cluster import Cluster
from support.endpoint import served
from support.music import music
from support.omi import Backend
from support.perfect import PERFECT, script, speak
from support.speech import RATE

SONGS = range(1, 9)
SONG_S = 40
WORDS = 40  # between two songs, of 0.5 s each with their pauses
BURST_S = 5


def programme() -> tuple[np.ndarray, list[float]]:
    """The audio, and the second at which each song begins."""
    parts, begins, length, first = [], [], 0.0, 0
    for number in SONGS:
        spoken = speak(WORDS, first=first)
        first += WORDS
        for part in (spoken, music(number)[: SONG_S * RATE]):
            parts.append(part)
            begins.append(length)
            length += len(part) / RATE
    return np.concatenate(parts), begins[1::2]


def register(cluster: Cluster) -> None:
    import io

    import soundfile

    for number in SONGS:
        out = io.BytesIO()
        soundfile.write(out, music(number), RATE, format="FLAC", subtype="PCM_16")
        files = {"file": (f"song-{number}.flac", out.getvalue())}
        httpx.post(f"{cluster.http()}/songs", files=files, timeout=600).raise_for_status()


async def main() -> None:
    speed = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
    print(describe())
    with (
        served(lambda number, body: (200, {}, b"{}")) as omi,
        Cluster(
            transcribers=1, processors=1, recognizers=1, OMI_SONGS="1", OMI_API_BASE=omi.url,
            OMI_APP_ID="app", OMI_APP_KEY="sk", OMI_WEBHOOK_ALLOW_PRIVATE="1", OMI_IDLE_S="20", **PERFECT,
        ) as cluster,
    ):  # fmt: skip
        await asyncio.to_thread(register, cluster)
        pcm, begins = programme()
        print(
            f"{len(pcm) / RATE / 60:.1f} minutes, {len(begins)} songs, {speed:g} times as fast as real time"
        )
        backend = Backend(cluster.http(), speed=10)
        named: dict[str, float] = {}
        twice: list[str] = []
        async with httpx.AsyncClient(timeout=600) as client:
            seen: list[dict] = []

            async def look(sent_s: float) -> None:
                found = (await client.get(f"{cluster.http()}/transcripts/wearer")).json()["transcripts"]
                for session in found:
                    url = f"{cluster.http()}/v1/stt/sessions/{session['session_id']}/transcript"
                    answer = (await client.get(url, params={"annotations": "true"})).json()
                    annotations = answer.get("annotations", ())
                    songs = [each["data"] for each in annotations if each["kind"] == "song"]
                    for song in songs[len(seen) :]:
                        seen.append(song)
                        if song["title"] in named:
                            twice.append(song["title"])
                        named.setdefault(song["title"], sent_s)

            began, killed = time.monotonic(), False
            for at in range(0, len(pcm), BURST_S * RATE):
                await backend.burst("/audio", "wearer", RATE, pcm[at : at + BURST_S * RATE].tobytes())
                if at > len(pcm) / 2 and not killed:
                    killed = True
                    for process in cluster.recognizers:
                        process.kill()
                    cluster.add_recognizer()
                due = began + (at + BURST_S * RATE) / RATE / speed
                while time.monotonic() < due:
                    await look(min(len(pcm), at + BURST_S * RATE) / RATE)
                    await asyncio.sleep(0.2)
            await asyncio.sleep(30)
            await look(len(pcm) / RATE)
            found = (await client.get(f"{cluster.http()}/transcripts/wearer")).json()["transcripts"]
        await backend.close()
        words = " ".join(each["text"] for each in reversed(found)).split()
        wanted = script(0, WORDS * len(begins))
        for number, start in zip(SONGS, begins, strict=True):
            when = named.get(f"song-{number}")
            print(f"song {number}: " + ("not named" if when is None else f"named after {when - start:.0f} s"))
        missing = [word for word in wanted if word not in words]
        print(f"named twice: {twice}; words missing: {len(missing)} of {len(wanted)}")
        print(f"notices: {len(omi.requests)}")


if __name__ == "__main__":
    asyncio.run(main())
