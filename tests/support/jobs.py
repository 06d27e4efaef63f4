"""Submitting jobs to a cluster, and waiting for them."""

import io
import time
import wave
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import orjson

ENDS = ("completed", "failed", "cancelled")


def wav(pcm: np.ndarray, *, channels: int = 1) -> bytes:
    """A WAV file of int16 samples at 16 kHz, interleaved."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(pcm.astype("<i2").tobytes())
    return out.getvalue()


def submit(
    base: str, file: Path | bytes, *, key: str | None = None, headers: dict | None = None, **fields: str
) -> dict[str, Any]:
    """Submit a file. Returns the body of the answer."""
    answer = httpx.post(
        f"{base}/v1/stt/jobs",
        files={"file": ("audio", file) if isinstance(file, bytes) else (file.name, file.read_bytes())},
        data=fields,
        headers={**({"Authorization": f"Bearer {key}"} if key else {}), **(headers or {})},
        timeout=600,
    )
    assert answer.status_code == 202, answer.text
    return answer.json()


_client = httpx.Client(timeout=600)  # creating a client takes 30 ms


def look(base: str, job: str, *, key: str | None = None) -> dict[str, Any]:
    """The present state of a job."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    answer = _client.get(f"{base}/v1/stt/jobs/{job}", headers=headers)
    assert answer.status_code == 200, answer.text
    return answer.json()


def wait(base: str, job: str, *, within_s: float = 600, key: str | None = None) -> dict[str, Any]:
    """Wait until a job has ended. Returns its state."""
    deadline = time.monotonic() + within_s
    while True:
        found = look(base, job, key=key)
        if found["status"] in ENDS:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def transcribe(base: str, file: Path | bytes, *, key: str | None = None, **fields: str) -> dict[str, Any]:
    """Submit a file and wait. Returns the result."""
    done = wait(base, submit(base, file, key=key, **fields)["job_id"], key=key)
    assert done["status"] == "completed", done
    return done["result"]


def events(base: str, job: str, *, after: int = 0) -> list[dict[str, Any]]:
    """All events of a job up to its end, as sent to a viewer."""
    with httpx.stream(
        "GET", f"{base}/v1/stt/jobs/{job}/events", headers={"Last-Event-ID": str(after)}, timeout=600
    ) as answer:
        return [orjson.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: ")]
