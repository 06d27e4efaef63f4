"""docs/benchmarks.md: one section for each result, between markers that keep those not measured this time."""

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from bench.results import FOLDER, Table

DOCUMENT = Path(__file__).parents[2] / "docs" / "benchmarks.md"
IMAGES = DOCUMENT.parent / "images"
ORDER = (
    "peers", "engines", "latency", "capacity_100", "capacity_50", "intake", "costs", "viewers", "failover",
    "long_file", "accuracy", "speakers", "languages", "intake_delay", "omi_webhook", "doors", "admission",
    "fuzz", "leavers", "chaos", "soak", "ten_thousand",
)  # fmt: skip
HEAD = (
    "# Benchmarks\n\nWritten by `make bench`, `make bench-full` and `make bench-peers`; each section says "
    "when and where it was measured. The machine is shared and noisy: take ratios before figures. What "
    "sends the load runs on the same cores. *Baseline* is the open peers' policy on our engine "
    "(`tests/bench/baseline.py`): the whole utterance decoded every 500 ms, LocalAgreement, no priming, "
    "no speculation, fixed cadence, one lock.\n"
)
_SECTION = re.compile(r"<!-- (\w+) -->\n(.*?)<!-- /\1 -->\n", re.DOTALL)


def merged(document: str, sections: Mapping[str, str]) -> str:
    """The document with these sections; its others stay as they are. All are in the order of `ORDER`."""
    kept = {**dict(_SECTION.findall(document)), **sections}
    parts = [f"<!-- {name} -->\n{kept[name]}<!-- /{name} -->\n" for name in ORDER if name in kept]
    return "\n".join([HEAD, *parts])


def section(result: dict[str, Any], image: str | None) -> str:
    """The text of a stored result. `image`: the file name of its plot, if there is one."""
    kept = {key: value for key, value in result.items() if key not in {"date", "machine"}}
    lines = [f"## {result['title']}\n", Table(**kept).markdown()]
    if image:
        lines.append(f"![{result['title']}](images/{image})\n")
    lines.append(f"*{result['date']}, {result['machine']}*\n")
    return "\n".join(lines)


def stored(names: Iterable[str] = ORDER) -> list[dict[str, Any]]:
    """The results that were measured in this checkout."""
    files = [FOLDER / f"{name}.json" for name in names]
    return [json.loads(file.read_text()) for file in files if file.exists()]


def write() -> None:
    """Write the tables and plots of all stored results."""
    from bench import plots  # needs Matplotlib, which nothing else here does

    sections = {result["name"]: section(result, plots.draw(result, IMAGES)) for result in stored()}
    DOCUMENT.write_text(merged(DOCUMENT.read_text(), sections))
