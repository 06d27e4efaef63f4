"""The three example clients of the seed's streaming guide: EventSource, aiohttp, and curl with jq."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from support import official_clients
from support.browser import CHROMIUM, chromium, holds, opened
from support.cluster import Cluster
from support.jobs import wav
from support.perfect import PERFECT, script, speak

STEPS = {
    "started": 5,
    "transcription": 10,
    "transcription_complete": 30,
    "translation": 35,
    "translation_complete": 50,
    "ner": 60,
    "ner_complete": 65,
    "classification": 70,
    "classification_complete": 75,
    "summarization": 80,
    "summarization_complete": 85,
    "insights": 90,
    "insights_complete": 95,
    "completed": 100,
}
"""The guide's list: step → progress when it begins."""
LIMIT_S = 600
EVERYTHING = {"language": "en", "include_translation": "true", "include_insights": "true"}


@pytest.fixture(scope="module")
def cluster():
    with Cluster(transcribers=1, processors=1, analyzers=1, **PERFECT) as running:
        yield running


@pytest.fixture(scope="module")
def speech(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("speech") / "test.wav"
    path.write_bytes(wav(speak(8)))
    return path


@official_clients.needs_clients
def test_the_python_client(cluster, speech):
    printed = official_clients.run("analysis_stream", cluster.http(), speech, json.dumps(EVERYTHING))
    updates = [each for each in printed if isinstance(each, dict)]
    first: dict[str, int] = {}
    for update in updates:
        first.setdefault(update["step"], update["progress"])
    assert first == STEPS
    assert [*first] == [*STEPS]
    [transcript] = [u["partial_result"] for u in updates if u["step"] == "transcription_complete"]
    assert transcript["transcript"].split() == script(0, 8)
    assert transcript["is_final"] is True
    assert printed[-1] == f"Progress: 100% - {updates[-1]['message']}"
    assert updates[-1]["partial_result"]["transcript"].split() == script(0, 8)


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl(cluster, speech):
    command = f"""
        curl -X POST "{cluster.http()}/audio/process-stream-realtime" \\
          -F "audio=@{speech}" \\
          -F "language=en" \\
          -F "include_translation=true" \\
          -F "include_insights=true" \\
          --no-buffer"""
    done = _bash(command)
    lines = [line for line in done.stdout.splitlines() if line.startswith("data: ")]
    assert '"step":"started"' in lines[0].replace(" ", "")
    assert '"step":"completed"' in lines[-1].replace(" ", "")


@pytest.mark.skipif(
    shutil.which("curl") is None or shutil.which("jq") is None, reason="curl or jq is not installed"
)
def test_curl_with_jq(cluster, speech):
    """As in the guide, but the date is put before what jq prints: in front of the JSON, jq can't read it."""
    command = f"""
        curl -X POST "{cluster.http()}/audio/process-stream-realtime" \\
          -F "audio=@{speech}" \\
          -F "language=en" \\
          --no-buffer | while IFS= read -r line; do
            if [[ $line == data:* ]]; then
                echo "$(date): $(echo "${{line#data:}}" | jq -r '.message // empty')"
            fi
        done"""
    messages = [line.rsplit(": ", 1)[1] for line in _bash(command).stdout.splitlines() if ": " in line]
    assert messages[0] == "Processing has started"
    assert messages[-1] == "Processing is complete"


def _bash(command: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=LIMIT_S)
    assert done.returncode == 0, done.stderr
    return done


EVENT_SOURCE = """
    const eventSource = new EventSource('/audio/tasks/TASK/events');
    window.lines = [];
    window.opened = 0;
    eventSource.onopen = () => window.opened++;

    eventSource.onmessage = function(event) {
        const update = JSON.parse(event.data);
        window.lines.push(`Step: ${update.step}, Progress: ${update.progress}%`);

        // Handle partial results
        if (update.partial_result?.transcript) {
            document.getElementById('transcript').textContent = update.partial_result.transcript;
        }

        // Handle completion
        if (update.step === 'completed') {
            window.complete = update.partial_result;
            eventSource.close();
        }
    };
"""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
async def test_event_source(cluster, speech):
    """An EventSource only sends GET requests: it follows the task that the upload has begun."""
    with httpx.stream(
        "POST",
        f"{cluster.http()}/audio/process-stream-realtime",
        files={"audio": speech.read_bytes()},
        data={"language": "en"},
        timeout=LIMIT_S,
    ) as answer:
        task = answer.headers["X-Task-ID"]
    async with chromium() as browser, opened(browser, f"{cluster.http()}/") as watched:
        page = watched.page
        await page.evaluate(
            """() => {
                const place = document.createElement('p');
                place.id = 'transcript';
                document.body.prepend(place);
            }"""
        )
        await page.evaluate(f"() => {{ {EVENT_SOURCE.replace('TASK', task)} }}")
        await holds(page, "Boolean(window.complete)", within=LIMIT_S)
        lines = await page.evaluate("window.lines")
        shown = await page.evaluate("document.getElementById('transcript').textContent")
        assert await page.evaluate("window.opened") == 1
        assert not watched.complaints
    assert lines[0] == "Step: started, Progress: 5%"
    assert lines[-1] == "Step: completed, Progress: 100%"
    assert shown.split() == script(0, 8)
