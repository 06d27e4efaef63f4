"""Subtitles of jobs, with the engine's own word times, against the rules: python -m bench.cues [engine …]

All recordings of the collection that can be decoded, in the chunks of a job; `CUES_EVERY=3` for every third.
"""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench.file_quality import engine_of
from bench.results import Table
from parlando import vad
from parlando.domain.audio import Pcm16
from parlando.domain.cues import cues_of
from parlando.domain.job_options import JobOptions
from parlando.domain.transcript import unbroken
from support.cues import violations
from support.jobs_in_process import transcribed
from support.speech import COLLECTION, load


def recordings() -> list[tuple[str, Pcm16]]:
    """The samples of each file, by its name."""
    found = []
    lines = (COLLECTION / "manifest.jsonl").read_text().splitlines()
    for line in lines[:: int(os.environ.get("CUES_EVERY", "1"))]:
        path = COLLECTION / json.loads(line)["file"]
        if pcm := _samples(path):
            found.append((path.name, pcm[0]))
    return found


def _samples(path: Path) -> list[Pcm16]:
    if path.suffix in (".raw", ".pcm"):
        return []
    try:
        return [load(path)]
    except (subprocess.CalledProcessError, OSError, ValueError):  # it isn't audio, or damaged
        return []


def main() -> None:
    """Check, and publish the table."""
    names = [name for name in sys.argv[1:] if not name.startswith("-")] or ["moonshine", "whisper"]
    table = Table("cues", "Subtitles of jobs", ("engine", "files", "with words", "cues", "violations"))
    spoken, detector = recordings(), vad.load("silero")
    for name in names:
        engine, cues, worded, wrong = engine_of(name), 0, 0, []
        for file, pcm in spoken:
            found = cues_of(
                unbroken(transcribed(engine, pcm, detector, JobOptions(language="en", words=True)))
            )
            cues, worded = cues + len(found), worded + bool(found)
            wrong += [f"{file}: {each}" for each in violations(found)]
            print(f"{name}: {file}: {len(found)} cues, {len(wrong)} violations so far", flush=True)
        table.rows.append((name, len(spoken), worded, cues, len(wrong)))
        table.data[name] = {"violations": wrong, "files": Counter(each.split(":")[0] for each in wrong)}
        print("\n".join(wrong), flush=True)
    table.publish()


if __name__ == "__main__":
    main()
