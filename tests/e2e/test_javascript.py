"""The JavaScript SDK: its package, its types, the examples of its README, and the sound of its resampler."""

import asyncio
import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
import soundfile

from support.browser import CHROMIUM, chromium, holds, opened
from support.cluster import Cluster
from support.perfect import PERFECT, script, silence, speak
from support.speech import JFK, RATE, fixture

SDK = Path(__file__).parents[2] / "clients" / "js"
EXAMPLES = re.findall(r"^```js\n(.*?)^```", (SDK / "README.md").read_text(), re.DOTALL | re.MULTILINE)
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
needs_npm = pytest.mark.skipif(shutil.which("npm") is None, reason="npm is not installed")


def run(*command: str, cwd: Path, **environment: str) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1) as running:
        yield running


@pytest.fixture(scope="module")
def perfect():
    with Cluster(transcribers=1, processors=1, **PERFECT) as running:
        yield running


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder into which the package is installed as a user would."""
    folder = tmp_path_factory.mktemp("project")
    packed = json.loads(run("npm", "pack", "--json", "--pack-destination", str(folder), cwd=SDK))[0]
    names = {each["path"] for each in packed["files"]}
    assert names == {
        "parlando.js",
        "analysis.js",
        "capture.js",
        "capture-worklet.js",
        "client.js",
        "errors.js",
        "jobs.js",
        "live-session.js",
        "keys.js",
        "owners.js",
        "known-speakers.js",
        "songs.js",
        "uploads.js",
        "usage.js",
        "unsettled.js",
        "parlando.d.ts",
        "README.md",
        "package.json",
    }
    (folder / "package.json").write_text('{"type": "module"}')
    run("npm", "install", "--silent", "--no-audit", "--no-fund", f"./{packed['filename']}", cwd=folder)
    return folder


@needs_npm
def test_the_types_fit_the_examples(project):
    run(
        "npm",
        "install",
        "--silent",
        "--no-audit",
        "--no-fund",
        "typescript@5.9.3",
        "@types/node@22.15.0",
        cwd=project,
    )
    for number, example in enumerate(EXAMPLES):
        (project / f"example{number}.ts").write_text(example)
    options = [
        "--noEmit",
        "--strict",
        "--target",
        "es2022",
        "--module",
        "nodenext",
        "--lib",
        "es2022,dom,dom.iterable",
    ]
    files = [f"example{number}.ts" for number in range(len(EXAMPLES))]
    run("npx", "tsc", *options, *files, cwd=project)


@needs_npm
def test_the_example_of_a_recording_runs_in_node(cluster, project):
    shutil.copy(JFK, project / "talk.flac")
    example = EXAMPLES[1].replace("http://127.0.0.1:8000", cluster.http())
    assert len(example.splitlines()) <= 10
    (project / "recording.js").write_text(example)
    said = run("node", "recording.js", cwd=project)
    assert "ask not what your country can do for you" in said
    assert "00:00:00," in said


@needs_node
def test_what_a_session_says_again_after_a_lost_connection_or_lost_data():
    script = Path(__file__).with_name("unsettled.mjs")
    done = subprocess.run(["node", script, SDK], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "5 passed" in done.stdout


class Session:
    """A session of the SDK in Node; `events` is what it has printed so far."""

    def __init__(self, url: str, file: Path, options: dict, *, seconds: float, cut: bool) -> None:
        self._command = [SDK, url, file, json.dumps(options), str(seconds), str(int(cut))]
        self.events: list[dict] = []

    @property
    def is_viewed(self) -> bool:
        """Whether the viewer has received all finals so far, and at least one."""
        finals, viewed = (words_of(self.events, kind) for kind in ("final", "viewed"))
        return bool(viewed) and len(viewed) >= len(finals)

    async def run(self) -> list[dict]:
        script = Path(__file__).with_name("live_session.mjs")
        process = await asyncio.create_subprocess_exec(
            *("node", "--experimental-websocket", "--no-warnings", script),
            *self._command,
            stdout=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(600):
            async for line in process.stdout:
                self.events.append(json.loads(line))
        await process.wait()
        return self.events


def words_of(events: list[dict], kind: str) -> list[str]:
    return " ".join(event["text"] for event in events if event["type"] == kind).split()


def recording(folder: Path, pcm: np.ndarray, form: str) -> tuple[Path, dict]:
    """A file of the perfect recogniser's speech, and the options that go with it."""
    file = folder / f"speech.{form}"
    if form == "s16":
        file.write_bytes(pcm.tobytes())
        return file, {}
    if form == "stereo_f32":
        file.write_bytes(np.repeat(pcm / np.float32(32768), 2).astype("<f4").tobytes())
        return file, {"encoding": "pcm_f32le", "channels": 2}
    soundfile.write(file, pcm, RATE, subtype="PCM_16")
    return file, {"encoding": "container"}


SPEECH = np.concatenate([np.r_[speak(9, first=9 * n), silence(0.7)] for n in range(4)])


@needs_node
@pytest.mark.parametrize("form", ["s16", "stereo_f32", "flac", "wav"])
async def test_a_resume_loses_and_doubles_nothing_whatever_is_sent(perfect, tmp_path, form):
    file, options = recording(tmp_path, SPEECH, form)
    events = await Session(perfect.http(), file, options, seconds=4, cut=True).run()

    kinds = [event["type"] for event in events]
    assert kinds.count("connected") == 2
    assert kinds.count("flushed") == 1, "a flush said without a connection is answered"
    words = " ".join(event["text"] for event in events if event["type"] == "final").split()
    assert words == script(0, 36)
    [closed] = [event for event in events if event["type"] == "closed"]
    assert closed["duration"] == pytest.approx(len(SPEECH) / RATE)


@needs_node
async def test_a_redis_that_loses_its_data_costs_no_word(perfect, tmp_path):
    sessions = []
    for form in ("s16", "stereo_f32", "flac"):
        file, options = recording(tmp_path, SPEECH, form)
        sessions.append(Session(perfect.http(), file, options, seconds=6, cut=False))
    running = asyncio.gather(*(session.run() for session in sessions))
    while not all(session.is_viewed for session in sessions):
        await asyncio.sleep(0.05)
    perfect.redis.kill()
    perfect.redis.start()

    for events in await running:
        assert sum(event.get("reopened", False) for event in events) == 1
        viewed = words_of(events, "viewed")
        before = list(itertools.takewhile(lambda event: not event.get("reopened"), events))
        # What Redis published just before it lost its data may not have reached the viewer.
        missing = [word for word in words_of(before, "final") if word not in viewed]
        assert viewed == [word for word in script(0, 36) if word not in missing]
        assert words_of(before, "final")[0] in viewed
        assert not any(event["type"] == "revoked" for event in events)
        finals = [event for event in events if event["type"] == "final"]
        assert [final["segment"] for final in finals] == list(range(len(finals)))
        assert " ".join(final["text"] for final in finals).split() == script(0, 36)
        [closed] = [event for event in events if event["type"] == "closed"]
        assert closed["duration"] == pytest.approx(len(SPEECH) / RATE)


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
async def test_the_example_of_the_microphone_runs_in_a_browser(cluster):
    example = EXAMPLES[0].replace("http://127.0.0.1:8000", cluster.http())
    assert len(example.splitlines()) <= 10
    example = re.sub(
        r"^import (.*) from .*$", r"const \1 = await import('/app/parlando.js');", example, flags=re.M
    )
    sound = np.concatenate(
        [np.zeros(RATE // 2, np.int16), fixture("jfk.flac"), np.zeros(30 * RATE, np.int16)]
    )
    async with chromium(sound) as browser, opened(browser, f"{cluster.http()}/#files") as watched:
        said = []
        watched.page.on("console", lambda message: said.append(message.text))
        await watched.page.evaluate(f"async () => {{ {example} }}")
        await holds(watched.page, "true")
        while "closed" not in said:
            await watched.page.wait_for_timeout(100)
        assert any("fellow" in line for line in said)
        assert not watched.complaints


@needs_node
@pytest.mark.parametrize("rate", [8000, 16_000, 22_050, 44_100, 48_000, 96_000])
def test_the_resampler_keeps_speech_and_lets_nothing_fold_back(tmp_path, rate):
    script = tmp_path / "tones.mjs"
    script.write_text(
        f"""
        import {{ Resampler }} from "{SDK / "capture-worklet.js"}";
        const levels = {{}};
        for (const tone of [100, 1000, 3500, 6500, 9000, 12000, 20000, 40000]) {{
          if (tone >= {rate} / 2) continue;
          const sine = (_, i) => Math.sin(2 * Math.PI * tone * i / {rate});
          const input = Float32Array.from({{ length: {rate} }}, sine);
          const resampler = new Resampler({rate});
          const output = [];
          for (let at = 0; at < input.length; at += 128)
            output.push(...resampler.push(input.subarray(at, at + 128)));
          const middle = output.slice(1000, 15000);
          const power = middle.reduce((sum, x) => sum + x * x, 0) / middle.length;
          levels[tone] = [10 * Math.log10(2 * power), output.length];
        }}
        console.log(JSON.stringify(levels));
        """
    )
    levels = {int(tone): found for tone, found in json.loads(run("node", str(script), cwd=tmp_path)).items()}
    for tone, (level, count) in levels.items():
        assert abs(count - RATE) <= 3
        if tone > 8000:
            assert level < -80, f"{tone} Hz folds back at {level:.0f} dB"
        elif tone <= 0.4 * min(rate, RATE):
            assert abs(level) < 0.1, f"{tone} Hz at {level:.2f} dB"
