"""The JavaScript SDK: its package, its types, the examples of its README, and the sound of its resampler."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from support.browser import CHROMIUM, chromium, holds, opened
from support.cluster import Cluster
from support.speech import JFK, RATE, fixture

SDK = Path(__file__).parents[2] / "clients" / "js"
EXAMPLES = re.findall(r"^```js\n(.*?)^```", (SDK / "README.md").read_text(), re.DOTALL | re.MULTILINE)
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
def project(tmp_path_factory):
    """A folder into which the package is installed as a user would."""
    folder = tmp_path_factory.mktemp("project")
    packed = json.loads(run("npm", "pack", "--json", "--pack-destination", str(folder), cwd=SDK))[0]
    names = {each["path"] for each in packed["files"]}
    assert names == {"parlando.js", "parlando.d.ts", "capture-worklet.js", "README.md", "package.json"}
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


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
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
