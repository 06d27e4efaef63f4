"""Analyses of files in a running cluster."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

REAL_TIME = "/audio/process-stream-realtime"
ORDER = [
    *("started", "transcription", "transcription_complete", "translation", "translation_complete"),
    *("ner", "ner_complete", "classification", "classification_complete"),
    *("summarization", "summarization_complete", "insights", "insights_complete", "completed"),
]
"""The names of all updates that are kept, in their order."""
ALL = {"include_translation": "true", "include_insights": "true"}


def updates_of(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """The updates in the lines of a stream, as the seed's clients read them."""
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line[6:])


@contextmanager
def analysed(
    base: str, file: bytes, path: str = REAL_TIME, headers: dict[str, str] | None = None, **fields: str
) -> Iterator[tuple[str, Iterator[dict[str, Any]]]]:
    """Send a file. Gives the task's id and its updates."""
    files = {"audio": ("audio.wav", file)}
    with httpx.stream(
        "POST", f"{base}{path}", files=files, data=fields, headers=headers, timeout=600
    ) as answer:
        if answer.status_code != 200:
            answer.read()
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield answer.headers["x-task-id"], updates_of(answer.iter_lines())


def all_updates(base: str, file: bytes, path: str = REAL_TIME, **fields: str) -> list[dict[str, Any]]:
    """Send a file, and wait for all updates."""
    with analysed(base, file, path, **fields) as (_, updates):
        return list(updates)


def ended(base: str, task: str, *, within_s: float = 600) -> dict[str, Any]:
    """Wait until a task has ended. Returns its state."""
    deadline = time.monotonic() + within_s
    while True:
        found = httpx.get(f"{base}/audio/tasks/{task}", timeout=600).json()
        if found["status"] in ("completed", "failed", "cancelled"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.05)


def kept(updates: list[dict[str, Any]]) -> list[str]:
    """The names of the updates that are kept."""
    return [update["step"] for update in updates if update["seq"] is not None]


def check_progress(updates: list[dict[str, Any]]) -> None:
    """Check the order of updates: numbers without a gap, progress that never falls."""
    numbers = [update["seq"] for update in updates if update["seq"] is not None]
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    progress = [update["progress"] for update in updates]
    assert progress == sorted(progress)
