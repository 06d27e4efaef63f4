"""Songs in a running cluster: registered, recognised in files and in live audio, and told to users."""

import asyncio
import io
import os
import signal
import subprocess
import sys
import time
import urllib.parse
from pathlib import Path

import httpx
import mutagen.flac
import numpy as np
import pytest
import soundfile
from redis.asyncio import from_url

from parlando.client import SongsClient, connect
from support.cluster import Cluster
from support.endpoint import served
from support.music import excerpt, file_of, music, under_speech
from support.omi import Backend
from support.perfect import PERFECT, script, speak
from support.speech import RATE, fixture

SONGS = (1, 2, 3)
HEADERS = {"X-API-Key": "k1"}
OMI = {"OMI_SONGS": "1", "OMI_IDLE_S": "3", "API_KEYS": "k1,k2"}


def register(cluster: Cluster, number: int, path: str = "/songs", **names) -> httpx.Response:
    files = {"file": (f"song-{number}.flac", file_of(music(number)))}
    return httpx.post(f"{cluster.http()}{path}", files=files, data=names, headers=HEADERS, timeout=600)


def recognise(cluster: Cluster, data: bytes) -> dict:
    files = {"file": ("excerpt", data)}
    answer = httpx.post(f"{cluster.http()}/songs/recognise", files=files, headers=HEADERS, timeout=600)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.fixture(scope="module")
def omi():
    """Omi's API: records its notifications."""
    with served(lambda number, body: (200, {}, b"{}")) as server:
        yield server


@pytest.fixture(scope="module")
def cluster(omi):
    environment = {**PERFECT, **OMI, "OMI_WEBHOOK_ALLOW_PRIVATE": "1"}
    with (
        served(lambda number, body: (200, {}, b"")) as hook,
        Cluster(
            transcribers=1,
            processors=1,
            recognizers=2,
            PARTITIONS="2",
            OMI_API_BASE=omi.url,
            OMI_APP_ID="app",
            OMI_APP_KEY="sk_test",
            SONG_WEBHOOK=f"{hook.url}/song",
            SONG_WEBHOOK_SECRET="secret",
            **environment,
        ) as running,
    ):
        running.hook = hook
        for number in SONGS:
            answer = register(running, number, artist=f"Artist {number}", title=f"Title {number}")
            assert answer.status_code == 201, answer.text
        yield running


def numbers(cluster: Cluster) -> dict[str, int]:
    """The registered songs: title → number."""
    found = httpx.get(f"{cluster.http()}/songs", headers=HEADERS, timeout=600).json()["songs"]
    return {song["title"]: song["id"] for song in found}


# --- files ------------------------------------------------------------------------------------------


def test_registered_songs_are_listed_in_pages_and_shown(cluster):
    first = httpx.get(f"{cluster.http()}/songs", params={"limit": 2}, headers=HEADERS, timeout=600).json()
    assert [song["title"] for song in first["songs"]] == ["Title 1", "Title 2"]
    assert first["total"] >= 3
    rest = {"after": first["next"], "limit": 1}
    second = httpx.get(f"{cluster.http()}/songs", params=rest, headers=HEADERS, timeout=600).json()
    [song] = second["songs"]
    assert song["title"] == "Title 3"
    assert song["duration"] == pytest.approx(40, abs=0.1)
    shown = httpx.get(f"{cluster.http()}/songs/{song['id']}", headers=HEADERS, timeout=600)
    assert shown.json() == song


def test_the_same_audio_is_registered_once_whatever_its_file(cluster):
    answer = register(cluster, 1, title="another name")
    assert answer.status_code == 200
    assert answer.json()["title"] == "Title 1"
    again = {"file": ("other.wav", file_of(music(1), "WAV"))}
    answer = httpx.post(f"{cluster.http()}/register", files=again, headers=HEADERS, timeout=600)
    assert (answer.status_code, answer.json()["title"]) == (200, "Title 1")


def test_names_come_from_the_tags_and_the_title_at_least_from_the_files_name(cluster, tmp_path):
    path = tmp_path / "tagged.flac"
    path.write_bytes(file_of(music(11)))
    tags = mutagen.flac.FLAC(path)
    tags["artist"], tags["album"], tags["title"] = "Björk & Söhne", "Ålbum", "<b>Tïtle</b>"
    tags.save()
    tagged = {"file": ("x.flac", path.read_bytes())}
    song = httpx.post(f"{cluster.http()}/songs", files=tagged, headers=HEADERS, timeout=600).json()
    assert (song["artist"], song["album"], song["title"]) == ("Björk & Söhne", "Ålbum", "<b>Tïtle</b>")
    plain = register(cluster, 12).json()
    assert (plain["artist"], plain["title"]) == ("", "song-12")


@pytest.mark.parametrize("form", ["FLAC", "WAV", "OGG"])
def test_a_song_in_a_file_is_recognised_with_its_place(cluster, form):
    data = io.BytesIO()
    subtype = "VORBIS" if form == "OGG" else "PCM_16"
    soundfile.write(data, excerpt(2, 12.5), RATE, format=form, subtype=subtype)
    found = recognise(cluster, data.getvalue())
    assert (found["song"]["artist"], found["song"]["title"]) == ("Artist 2", "Title 2")
    assert found["song"]["offset"] == pytest.approx(12.5, abs=0.2)
    assert found["seconds"] == pytest.approx(10, abs=0.1)


def test_a_song_that_begins_later_in_the_file_is_recognised(cluster):
    pcm = np.concatenate([fixture("jfk.flac"), excerpt(3, 5.0, 20)])
    song = recognise(cluster, file_of(pcm))["song"]
    assert song["title"] == "Title 3"
    assert song["start"] - song["offset"] == pytest.approx(len(fixture("jfk.flac")) / RATE - 5, abs=0.3)


def test_other_music_speech_and_silence_are_no_song(cluster):
    for pcm in (excerpt(50, 3), fixture("jfk.flac"), np.zeros(10 * RATE, np.int16)):
        assert recognise(cluster, file_of(pcm))["song"] is None


def test_what_is_no_song_is_refused_with_a_reason(cluster):
    def problem(data: bytes, path: str = "/songs") -> dict:
        files = {"file": ("x.flac", data)}
        return httpx.post(f"{cluster.http()}{path}", files=files, headers=HEADERS, timeout=600).json()

    assert problem(b"no audio" * 100)["status"] == 415
    assert "too few" in problem(file_of(np.full(20 * RATE, 4000, np.int16)))["detail"]
    assert "silent" in problem(file_of(np.zeros(20 * RATE, np.int16)))["detail"]
    assert "at least 3 s" in problem(file_of(excerpt(1, 0, 1)), "/songs/recognise")["detail"]
    empty = httpx.post(f"{cluster.http()}/songs", files={"other": ("x", b"y")}, headers=HEADERS, timeout=600)
    assert empty.status_code == 400
    assert httpx.get(f"{cluster.http()}/songs", timeout=600).status_code == 401
    assert httpx.get(f"{cluster.http()}/songs/99999", headers=HEADERS, timeout=600).status_code == 404
    assert not [*cluster.blobs.rglob("*.flac")]
    assert not [path for path in cluster.blobs.rglob("*") if path.is_file()], "uploads are deleted"


def test_a_removed_song_is_not_recognised_any_more(cluster):
    number = register(cluster, 13).json()["id"]
    assert recognise(cluster, file_of(excerpt(13, 8)))["song"]["song_id"] == number
    assert httpx.delete(f"{cluster.http()}/songs/{number}", headers=HEADERS, timeout=600).is_success
    gone = httpx.delete(f"{cluster.http()}/songs/{number}", headers=HEADERS, timeout=600)
    assert (gone.status_code, gone.json()["code"]) == (404, "song_not_found")
    deadline = time.monotonic() + 600  # a recogniser keeps a song's names for half a minute
    while recognise(cluster, file_of(excerpt(13, 8)))["song"]:
        assert time.monotonic() < deadline
        time.sleep(1)
    assert register(cluster, 13).status_code == 201


async def test_the_python_client(cluster, tmp_path):
    path = tmp_path / "by the client.flac"
    path.write_bytes(file_of(music(14)))
    async with SongsClient(cluster.http(), api_key="k1") as songs:
        song = await songs.register(path, artist="Someone")
        assert (await songs.song(song["id"]))["artist"] == "Someone"
        assert song in [each async for each in songs.list()]
        path.write_bytes(file_of(excerpt(14, 20)))
        assert (await songs.recognise(path))["song_id"] == song["id"]
        await songs.remove(song["id"])


def test_the_command_line_registers_a_folder_and_continues_where_it_was_interrupted(cluster, tmp_path):
    def parlando(*words: object) -> subprocess.CompletedProcess:
        command = [Path(sys.executable).with_name("parlando"), "songs", *map(str, words)]
        environment = {
            **os.environ,
            "PARLANDO_URL": cluster.http(),
            "PARLANDO_API_KEY": "k1",
            "COLUMNS": "200",
        }
        return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=600)

    folder = tmp_path / "album" / "disc 1"
    folder.mkdir(parents=True)
    for number in (15, 16):
        (folder / f"track {number}.flac").write_bytes(file_of(music(number)))
    (folder / "cover.jpg").write_bytes(b"no audio")
    assert parlando("register", folder / "track 15.flac").stdout == "1 registered, 0 skipped, 0 failed\n"
    (folder / "broken.mp3").write_bytes(b"no audio" * 100)
    done = parlando("register", tmp_path)
    assert (done.returncode, done.stdout) == (1, "1 registered, 1 skipped, 1 failed\n")
    assert "broken.mp3: The file can't be decoded" in done.stderr
    listed = {line.split()[-2]: line.split()[0] for line in parlando("list").stdout.splitlines()[1:]}
    (tmp_path / "excerpt.flac").write_bytes(file_of(excerpt(16, 11)))
    found = parlando("recognise", tmp_path / "excerpt.flac")
    assert found.stdout.startswith("'track 16', at 11.")
    assert parlando("remove", listed["15"], listed["16"]).stdout.endswith("removed\n")
    missing = parlando("recognise", tmp_path / "nothing.flac")
    assert missing.returncode == 2
    (tmp_path / "silence.flac").write_bytes(file_of(np.zeros(10 * RATE, np.int16)))
    none = parlando("recognise", tmp_path / "silence.flac")
    assert (none.returncode, none.stderr) == (1, "no song recognised\n")


def test_without_a_recognizer_files_are_refused_at_once():
    with Cluster(transcribers=1, processors=1, API_KEYS="k1", **PERFECT) as without:
        answer = register(without, 1)
        assert answer.status_code == 503
        assert "No song-recognizer is running" in answer.json()["detail"]


# --- live audio -------------------------------------------------------------------------------------


def programme() -> np.ndarray:
    """Speech, a song, speech, another song with speech over it, speech."""
    return np.concatenate(
        [
            speak(12),
            excerpt(1, 4.0, 30),
            speak(12, first=12),
            under_speech(excerpt(2, 0.0, 30), np.tile(fixture("jfk.flac"), 4), 5),
            speak(12, first=24),
        ]
    )


async def send(session, pcm: np.ndarray, *, speed: float = 3.0) -> None:
    began = asyncio.get_running_loop().time()
    for at in range(0, len(pcm), RATE // 5):
        await session.send(pcm[at : at + RATE // 5].tobytes())
        await asyncio.sleep(max(0, began + at / RATE / speed - asyncio.get_running_loop().time()))


async def songs_of(cluster: Cluster, session: str, count: int) -> list[dict]:
    """The songs that were named in a session, when there are `count`."""
    url = f"{cluster.http()}/v1/stt/sessions/{session}/transcript"
    async with httpx.AsyncClient(headers=HEADERS, timeout=600) as client, asyncio.timeout(600):
        while True:
            answer = (await client.get(url, params={"annotations": "true"})).json()
            found = [each["data"] for each in answer.get("annotations", ()) if each["kind"] == "song"]
            if len(found) >= count:
                return found
            await asyncio.sleep(0.2)


async def test_songs_in_a_live_session_are_named_once_and_its_words_are_unharmed(cluster):
    async with (
        asyncio.timeout(600),
        connect(cluster.url(), api_key="k1", songs=True, annotations=True) as session,
    ):
        sending = asyncio.create_task(send(session, programme()))
        sending.add_done_callback(lambda _: asyncio.create_task(session.end()))
        events = [event async for event in session]
    found = await songs_of(cluster, session.id, 2)
    assert [song["title"] for song in found] == ["Title 1", "Title 2"]
    words = " ".join(event["text"] for event in events if event["type"] == "final").split()
    assert [word for word in words if word in script(0, 36)] == script(0, 36)
    one, two = (song["start"] - song["offset"] for song in found)
    speech = len(speak(12)) / RATE
    assert one == pytest.approx(speech - 4, abs=0.3)
    assert two == pytest.approx(2 * speech + 30, abs=0.3)
    for song, began in zip(found, (speech, 2 * speech + 30), strict=True):
        # The next window, which ends 15 s after `start`, confirms it.
        assert song["start"] + 15 <= began + 20
    live = [event["data"]["title"] for event in events if event["type"] == "annotation"]
    assert live == ["Title 1", "Title 2"][: len(live)]


async def test_a_killed_recognizer_names_nothing_twice(cluster):
    async with asyncio.timeout(600), connect(cluster.url(), api_key="k1", songs=True) as session:
        pcm = programme()
        half = len(speak(12)) + 22 * RATE
        await send(session, pcm[:half])
        await songs_of(cluster, session.id, 1)
        for process in cluster.recognizers:
            process.kill()
        cluster.recognizers = []
        cluster.add_recognizer()
        cluster.add_recognizer()
        await send(session, pcm[half:], speed=1.5)
        await session.end()
        async for _ in session:
            pass
    await asyncio.sleep(3)
    assert [song["title"] for song in await songs_of(cluster, session.id, 2)] == ["Title 1", "Title 2"]


async def test_a_stopped_recognizer_does_not_delay_the_words(cluster):
    for process in cluster.recognizers:
        process.signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(600), connect(cluster.url(), api_key="k1", songs=True) as session:
            await send(session, speak(12), speed=20)
            await session.end()
            texts = [event["text"] async for event in session if event["type"] == "final"]
        assert " ".join(texts).split() == script(0, 12)
    finally:
        for process in cluster.recognizers:
            process.signal(signal.SIGCONT)


async def test_a_song_that_is_sent_at_once_is_named_though_its_session_has_closed(cluster):
    """No recognizer runs while the session lives: neither the transcriber nor the client waits for one."""
    for process in cluster.recognizers:
        process.signal(signal.SIGSTOP)
    try:
        async with asyncio.timeout(600), connect(cluster.url(), api_key="k1", songs=True) as session:
            await session.send(np.concatenate([speak(3), excerpt(1, 4.0, 30)]).tobytes())
            await session.end()
            kinds = [event["type"] async for event in session]
        assert kinds[-1] == "closed"
        redis = from_url(cluster.redis.url)
        [audio] = await redis.keys(f"stt:*:pcm:{session.id}")
        assert await redis.xlen(audio)
        assert 0 < await redis.ttl(audio) <= 60
    finally:
        for process in cluster.recognizers:
            process.signal(signal.SIGCONT)
    [song] = await songs_of(cluster, session.id, 1)
    assert song["title"] == "Title 1"
    async with asyncio.timeout(600):
        while await redis.exists(audio):
            await asyncio.sleep(0.2)
    await redis.aclose()


async def test_an_omi_user_is_told_which_song_is_playing(cluster, omi):
    backend = Backend(cluster.http(), speed=10)
    pcm = np.concatenate([excerpt(3, 6.0, 30), speak(6)])
    for at in range(0, len(pcm), 5 * RATE):
        assert await backend.burst("/omi/k1/audio", "wearer", RATE, pcm[at : at + 5 * RATE].tobytes())
        await asyncio.sleep(1.5)
    await backend.close()
    async with asyncio.timeout(600):
        while not any("wearer" in path for path, _, _ in omi.requests):
            await asyncio.sleep(0.2)
        stats = {}
        while not stats.get("last_recognition"):
            answer = await asyncio.to_thread(
                httpx.get, f"{cluster.http()}/stats/wearer", headers=HEADERS, timeout=600
            )
            stats = answer.json()
        while not any(b"wearer" in body for _, _, body in cluster.hook.requests):
            await asyncio.sleep(0.2)
    assert (stats["last_recognition"]["artist"], stats["last_recognition"]["title"]) == (
        "Artist 3",
        "Title 3",
    )
    [(path, headers, body)] = [each for each in omi.requests if "wearer" in each[0]]
    address = urllib.parse.urlparse(path)
    assert address.path == "/v2/integrations/app/notification"
    assert urllib.parse.parse_qs(address.query) == {
        "uid": ["wearer"],
        "message": ["You're listening to 'Title 3' by Artist 3"],
    }
    assert (headers["authorization"], headers["content-length"], body) == ("Bearer sk_test", "0", b"")
    [(_, headers, _)] = [each for each in cluster.hook.requests if b"wearer" in each[2]]
    assert headers["x-parlando-signature"]


def test_the_calls_of_a_song_recognition_webhook_for_omi_are_answered(cluster):
    """Those of the published guide: check of the setup, bodies of 10 s, health, statistics, clearing."""

    def call(method: str, path: str, **more) -> httpx.Response:
        answer = httpx.request(method, f"{cluster.http()}{path}", headers=HEADERS, timeout=600, **more)
        assert answer.status_code == 200, answer.text
        return answer

    assert call("GET", "/audio").json() == {"is_setup_completed": True}
    for at in (0, 10, 20):
        sent = call(
            "POST",
            "/audio?sample_rate=16000&uid=user123",
            content=excerpt(2, 5.0 + at).tobytes(),
        ).json()
        assert sent["status"] == "ok"
        assert sent["received_bytes"] == 10 * RATE * 2
    health = call("GET", "/health").json()
    assert health["status"] == "healthy"
    assert health["active_users"] >= 1
    stats = call("GET", "/stats/user123").json()  # the test above waits for `last_recognition`
    assert (stats["uid"], stats["sample_rate"]) == ("user123", RATE)
    assert {"buffer_size_bytes", "buffer_duration_seconds", "last_recognition"} <= set(stats)
    assert call("DELETE", "/buffer/user123").json()["status"]
