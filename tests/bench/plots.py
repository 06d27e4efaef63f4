"""Plots of results, as SVG files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt

mpl.use("svg")
mpl.rcParams.update(
    {
        "svg.fonttype": "none",
        "svg.hashsalt": "parlando",
        "axes.spines.top": False,
        "axes.spines.right": False,
        "figure.figsize": (7, 3.2),
        "figure.autolayout": True,
    }
)
OURS, THEIRS, LIMIT = "#0b6b66", "#b06a2c", "#a8201a"


def _capacity(data: dict[str, Any], axes: Any) -> None:
    for name, colour in (("ours", OURS), ("baseline", THEIRS)):
        steps = data["steps"][name]
        axes.plot(
            [step["sessions"] for step in steps],
            [step["final_p95"] for step in steps],
            "o-",
            color=colour,
            label=name,
        )
    axes.axhline(1.5, color=LIMIT, linestyle=":", label="endpoint + 1 s")
    axes.set(xlabel="live sessions", ylabel="finals' delay p95, s", ylim=(0, 4), xlim=(0, None))
    axes.legend(frameon=False)


def _latency(data: dict[str, Any], axes: Any) -> None:
    names = {"first_p50": "first partial\np50", "first_p95": "first partial\np95",
             "shown_mean": "word shown\nmean", "final_p95": "final\np95"}  # fmt: skip
    places = range(len(names))
    axes.bar([x - 0.2 for x in places], [data[name] for name in names], 0.4, color=OURS, label="ours")
    theirs = [data["baseline"][name] for name in names]
    axes.bar([x + 0.2 for x in places], theirs, 0.4, color=THEIRS, label="baseline")
    axes.set_xticks(list(places), names.values())
    axes.set(ylabel="ms")
    axes.legend(frameon=False)


def _soak(data: dict[str, Any], axes: Any) -> None:
    for name, values in data["seen"].items():
        axes.plot([n * data["every_s"] / 60 for n in range(len(values))], values, label=name)
    axes.set(xlabel="minutes", ylabel="MB", ylim=(0, None))
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.6))


KINDS: dict[str, Callable[[dict[str, Any], Any], None]] = {
    "capacity_100": _capacity,
    "capacity_50": _capacity,
    "latency": _latency,
    "soak": _soak,
}


def draw(result: dict[str, Any], folder: Path) -> str | None:
    """The plot's file name in `folder`; None if there's none for this result."""
    kind = KINDS.get(result["name"])
    if kind is None:
        return None
    figure, axes = plt.subplots()
    kind(result["data"], axes)
    folder.mkdir(parents=True, exist_ok=True)
    name = f"bench-{result['name'].replace('_', '-')}.svg"
    figure.savefig(folder / name, metadata={"Date": None})
    plt.close(figure)
    return name
