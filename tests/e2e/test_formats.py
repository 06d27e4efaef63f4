"""Any audio that clients send live: the words are those of the 16 kHz recording, and so are their times."""

import asyncio
import contextlib
import json
import random
import subprocess
import sys
from difflib import SequenceMatcher
from pathlib import Path
from statistics import median

import jiwer
import pytest
import websockets
from whisper.normalizers import EnglishTextNormalizer

from audio_processor.ffmpeg import find
from parlando.client import connect
from parlando.domain.audio import to_float
from parlando.domain.transcript import bare
from support.cluster import Cluster
from support.conversion import form_of
from support.encoding import RECIPES, encoded
from support.speech import JFK, load, rows
from support.streaming import Heard, check_promises

BIN = Path(sys.executable).parent
SECONDS = 11.0
SPEED = 3  # times real time
CONCURRENCY = 8
SAID = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for your country"
)
PIECES = ("20 ms", "100 ms", "odd")
IN_ALL_PIECES = ("s16le_44100_2", "webm_opus")
"""Formats that are sent in pieces of every kind; of the others, each has one kind."""
normal = EnglishTextNormalizer()


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=2, processors=1, PARTIAL_CADENCE="fixed") as cluster:
        yield cluster


def _pieces(data: bytes, how: str, seed: str) -> list[bytes]:
    """What a client sends: 20 ms or 100 ms at a time, or pieces of any odd size."""
    sizes = random.Random(seed)
    per_ms = len(data) / SECONDS / 1000
    pieces, at = [], 0
    while at < len(data):
        ms = {"20 ms": 20.0, "100 ms": 100.0, "odd": sizes.uniform(1, 180)}[how]
        step = max(1, int(per_ms * ms)) | (how == "odd")
        pieces.append(data[at : at + step])
        at += step
    return pieces


async def _send_live(cluster, name: str, how: str, *, words: bool = True, drops: int = 0) -> Heard:
    """The recording in a format, live; the connection is cut `drops` times on the way."""
    data = encoded(JFK, name)
    heard = Heard()
    async with (
        asyncio.timeout(600),
        connect(cluster.url(), words=words, **dict(RECIPES[name].query)) as session,
    ):
        heard.session = session

        async def talk() -> None:
            started, sent, dropped = asyncio.get_running_loop().time(), 0, 0
            pieces = _pieces(data, how, name)
            cuts = {len(pieces) * (n + 1) // (drops + 1) for n in range(drops)}
            for number, piece in enumerate(pieces):
                if number in cuts:
                    while session.resumes < dropped:
                        await asyncio.sleep(0.01)  # else one that isn't there yet would be dropped
                    session.drop_connection()
                    dropped += 1
                await session.send(piece)
                sent += len(piece)
                due = started + sent / len(data) * SECONDS / SPEED
                await asyncio.sleep(max(0.0, due - asyncio.get_running_loop().time()))
            await session.end()

        talking = asyncio.create_task(talk())
        async for event in session:
            heard.events.append(event)
        await talking
    return heard


def _words(heard: Heard) -> list[tuple[str, float]]:
    return [(bare(word["word"]), word["start"]) for final in heard.finals for word in final.get("words", ())]


def _apart(heard: Heard, reference: Heard) -> list[float]:
    """For each word that both heard, how far its starts lie apart, in seconds."""
    mine, theirs = _words(heard), _words(reference)
    matches = SequenceMatcher(None, [w for w, _ in mine], [w for w, _ in theirs], autojunk=False)
    return [
        abs(mine[a + n][1] - theirs[b + n][1])
        for a, b, size in matches.get_matching_blocks()
        for n in range(size)
    ]


@pytest.mark.timeout(1500)
async def test_every_format_in_pieces_of_any_size_says_the_same_words_at_the_same_times(cluster):
    """Word errors at most 5 % (15 % at 8 kHz), times within 100 ms of the 16 kHz recording's."""
    reference = await _send_live(cluster, "s16le_16000_1", "20 ms")
    assert len(_words(reference)) > 15
    room = asyncio.Semaphore(CONCURRENCY)

    async def one(name: str, how: str) -> tuple[str, str, Heard]:
        async with room:
            return name, how, await _send_live(cluster, name, how)

    sent = {(name, PIECES[number % len(PIECES)]) for number, name in enumerate(RECIPES)}
    sent |= {(name, how) for name in IN_ALL_PIECES for how in PIECES}
    for name, how, heard in await asyncio.gather(*(one(name, how) for name, how in sorted(sent))):
        check_promises(heard)
        rate = 100 * jiwer.wer(SAID, normal(heard.text))
        apart = _apart(heard, reference)
        bounds = [
            abs(mine[edge] - theirs[edge])
            for mine, theirs in zip(heard.finals, reference.finals, strict=True)
            for edge in ("start", "end")
        ]
        print(
            f"{name:14} {how:6} {rate:4.1f} % word errors; segments {1000 * max(bounds):.0f} ms apart, "
            f"words {1000 * median(apart):.0f} ms, the worst {1000 * max(apart):.0f} ms"
        )
        assert rate <= (15 if "8000" in name else 5), (name, how, heard.text)
        assert len(apart) >= 0.8 * len(_words(reference)), (name, how)
        assert max(bounds) <= 0.1, (name, how)
        near = sum(difference <= 0.1 for difference in apart)
        assert near >= 0.85 * len(apart), "the model's attention puts a word or two elsewhere, no more"


@pytest.mark.timeout(1500)
async def test_a_killed_audio_processor_changes_no_letter(cluster):
    """SIGKILL in the middle of every format at once: the finals are those of an undisturbed run."""
    names = list(RECIPES)

    async def all_of_them() -> list[Heard]:
        return await asyncio.gather(*(_send_live(cluster, name, "100 ms") for name in names))

    def claims(kind: str) -> int:
        return sum(process.log.read_text().count(f'"kind": "{kind}"') for process in cluster.processors)

    undisturbed = await all_of_them()
    before_them = claims("new")
    disturbed = asyncio.create_task(all_of_them())
    await asyncio.sleep(0.5 * SECONDS / SPEED)
    async with asyncio.timeout(300):
        while claims("new") < before_them + sum(not form_of(name).direct for name in names):
            await asyncio.sleep(0.01)
    cluster.processors[-1].kill()
    cluster.add_processor()

    for name, before, after in zip(names, undisturbed, await disturbed, strict=True):
        check_promises(after)
        bounds = [[(f["start"], f["end"]) for f in run.finals] for run in (before, after)]
        assert [f["text"] for f in after.finals] == [f["text"] for f in before.finals], (name, bounds)
    taken = claims("takeover")
    print(f"\n{taken} conversions taken over")
    assert taken >= len(names) / 2


async def test_the_words_of_every_container_are_heard(cluster):
    """All files of `e_containers` whose words are known (none of it in the fixtures)."""
    spoken = [(path, row) for path, row in rows("e_containers") if row.get("text")]
    room = asyncio.Semaphore(CONCURRENCY)

    async def one(path: Path, row: dict) -> str:
        query = {} if "raw" in row else {"encoding": "container"}
        data = path.read_bytes()  # noqa: ASYNC240
        async with room, asyncio.timeout(600), connect(cluster.url(), **query) as session:
            for at in range(0, len(data), 8000):
                await session.send(data[at : at + 8000])
            await session.end()
            return " ".join([e["text"] async for e in session if e["type"] == "final" and e["text"]])

    heard = await asyncio.gather(*(one(path, row) for path, row in spoken))
    if spoken:
        said = [normal(row["text"]) for _, row in spoken]
        rate = 100 * jiwer.wer(said, [normal(text) for text in heard])
        print(f"\n{len(spoken)} files: {rate:.1f} % word errors")
        assert rate <= 15


@pytest.mark.timeout(1200)
async def test_a_lost_connection_loses_nothing_of_any_format(cluster):
    """Resumed at a sample of the client's own rate, or at a byte of its container."""
    names = ["s16le_44100_2", "f32le_16000_1", "f32le_48000_2", "mulaw_8000", "webm_opus", "mp3", "wav"]
    calm = await asyncio.gather(*(_send_live(cluster, name, "odd") for name in names))
    torn = await asyncio.gather(*(_send_live(cluster, name, "odd", drops=3) for name in names))

    for name, before, after in zip(names, calm, torn, strict=True):
        assert after.session.resumes == 3, name
        assert [f["text"] for f in after.finals] == [f["text"] for f in before.finals], name


async def test_a_start_behind_the_greeting_may_still_say_the_format(cluster):
    """As clients do that wait for `connected` before they say anything; and back again."""
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        greeting = json.loads(await socket.recv())
        for form in ({"format": "wav"}, {"sample_rate": 16_000}, {"format": "ogg"}):
            await socket.send(json.dumps({"type": "start", **form}))
        await socket.send(encoded(JFK, "ogg_opus"))
        await socket.send('{"type":"end"}')
        said = [json.loads(message) async for message in socket]

    assert greeting["type"] == "connected"
    text = " ".join(event["text"] for event in said if event["type"] == "final")
    assert jiwer.wer(SAID, normal(text)) <= 0.05
    assert said[-1]["reason"] == "end"


async def test_audio_that_cannot_be_decoded_is_said_before_the_socket_closes(cluster):
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream?encoding=container") as socket:
        await socket.send(b"And so, my fellow Americans" * 1000)
        said = []
        with contextlib.suppress(websockets.ConnectionClosedError):
            while True:
                said.append(json.loads(await socket.recv()))

    error, closed = said[-2:]
    assert (error["type"], error["code"], error["retryable"]) == ("error", "invalid_audio", False)
    assert error["message"].startswith("The audio can't be decoded: it is no known audio format")
    assert closed["reason"] == "invalid_audio"
    assert socket.close_code == 1003


@pytest.mark.parametrize("kind", ["floats", "webm"])
async def test_what_is_not_the_pcm_that_it_is_said_to_be_is_told(cluster, kind):
    """Silence would come of it, and nobody would know why."""
    floats = to_float(load(JFK)).astype("<f4").tobytes()
    data = floats if kind == "floats" else b"\x1aE\xdf\xa3\x9fB\x86\x81\x01" + floats
    expected = {"floats": "encoding=pcm_f32le", "webm": "encoding=container"}[kind]
    async with websockets.connect(f"{cluster.url()}/v1/stt/stream") as socket:
        said = []
        with contextlib.suppress(websockets.ConnectionClosed):
            for at in range(0, len(data), 640):
                await socket.send(data[at : at + 640])
        with contextlib.suppress(websockets.ConnectionClosed):
            while True:
                said.append(json.loads(await socket.recv()))
    assert (said[-1]["type"], said[-1]["code"]) == ("error", "invalid_audio")
    assert expected in said[-1]["message"]
    assert socket.close_code == 1003


@pytest.mark.parametrize("options", [[], ["--fast"]])
def test_the_command_line_takes_any_file(cluster, tmp_path, options):
    talk, text = tmp_path / "talk.m4a", tmp_path / "talk.txt"
    subprocess.run([find(), "-v", "error", "-i", JFK, "-t", "4", "-c:a", "aac", talk], check=True)
    text.write_text("And so, my fellow Americans")

    def parlando(path: Path) -> subprocess.CompletedProcess:
        command = [BIN / "parlando", "live", path, "--url", cluster.http(), *options]
        return subprocess.run(command, capture_output=True, text=True, timeout=600)

    heard, refused = parlando(talk), parlando(text)
    assert "fellow Americans" in heard.stdout
    assert refused.returncode == 1
    assert "no known audio format" in " ".join(refused.stderr.split())
