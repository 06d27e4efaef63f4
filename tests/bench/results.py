"""Tables of results: printed, and stored as JSON for the report."""

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.machine import describe

FOLDER = Path(os.environ.get("BENCH_RESULTS", Path(__file__).parent / "results"))


@dataclass
class Table:
    """One measurement. `data`: the values for plots. `remarks`: notes for the reader."""

    name: str
    title: str
    columns: Sequence[str]
    rows: list[Sequence[Any]] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def markdown(self) -> str:
        """The table with its remarks."""
        lines = [f"| {' | '.join(self.columns)} |", "|" + "---|" * len(self.columns)]
        lines += [f"| {' | '.join(map(_text, row))} |" for row in self.rows]
        return "\n".join([*lines, "", *(f"{remark}\n" for remark in self.remarks)])

    def publish(self) -> None:
        """Print it, and write it to `FOLDER`."""
        print(f"# {self.title}\n{describe()}\n\n{self.markdown()}", flush=True)
        FOLDER.mkdir(parents=True, exist_ok=True)
        kept = {**asdict(self), "machine": describe(), "date": datetime.now(UTC).date().isoformat()}
        (FOLDER / f"{self.name}.json").write_text(json.dumps(kept, indent=1, default=float))


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
    return str(value)
