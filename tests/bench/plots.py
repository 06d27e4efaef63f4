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
OTHERS = (THEIRS, "#5b6fa8", "#8a8f3a", "#7a4f7e")


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
    axes.axhline(data["bars"]["final_p95"], color=LIMIT, linestyle=":", label="bar")
    axes.set(xlabel="live sessions", ylabel="final after the endpoint, p95, s", ylim=(0, 4), xlim=(0, None))
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


def _lines(axes: Any, steps: list[dict[str, Any]], group: str, value: str, dashed: str = "") -> None:
    """One line for each value of `group`, over the number of sessions; the first one is ours."""
    names = list(dict.fromkeys(step[group] for step in steps))
    for name, colour in zip(names, (OURS, *OTHERS), strict=False):
        for column, style in ((value, "o-"), (dashed, "o:")):
            known = [step for step in steps if step[group] == name and step.get(column) is not None]
            places = [step["sessions"] for step in known]
            values = [step[column] for step in known]
            label = name if style == "o-" else None
            axes.plot(places, values, style, color=colour, label=label, markersize=4)
    axes.set(xlabel="live sessions", xlim=(0, None), ylim=(0, None))


def _peers(data: dict[str, Any], first: Any, errors: Any, tail: Any) -> None:
    steps = data["figures"]
    _lines(first, steps, "system", "first_p50", "first_p95")
    first.set(title="first words, s (p50, dotted p95)")
    _lines(errors, steps, "system", "wer")
    offline = sorted({(step["sessions"], step["wer_offline"]) for step in steps if step["wer_offline"]})
    errors.plot(*zip(*offline, strict=True), ":", color=LIMIT, label="offline, beam 5")
    errors.set(title="word error rate, %", ylim=(0, 100))
    _lines(tail, steps, "system", "tail_max")
    tail.set(title="tail, s (the longest)")
    errors.legend(frameon=False, fontsize=8)


def _engines(data: dict[str, Any], first: Any, final: Any, errors: Any) -> None:
    steps = data["steps"]
    for axes, value, title in (
        (first, "first_p95", "first words p95, s"),
        (final, "final_p95", "final after the endpoint p95, s"),
        (errors, "wer", "word error rate, % (dotted: offline)"),
    ):
        _lines(axes, steps, "engine", value, "wer_offline" if axes is errors else "")
        axes.set(title=title)
    first.axhline(data["bar_first_s"], color=LIMIT, linestyle=":")
    final.axhline(data["bar_final_s"], color=LIMIT, linestyle=":")
    first.legend(frameon=False, fontsize=8)


KINDS: dict[str, Callable[..., None]] = {
    "peers": _peers,
    "engines": _engines,
    "capacity_100": _capacity,
    "capacity_50": _capacity,
    "latency": _latency,
    "soak": _soak,
}
"""Each draws the data of a result on one or several axes."""
PANELS = {"peers": 3, "engines": 3}  # one for the others


def draw(result: dict[str, Any], folder: Path) -> str | None:
    """The plot's file name in `folder`; None if there's none for this result."""
    kind = KINDS.get(result["name"])
    if kind is None:
        return None
    panels = PANELS.get(result["name"], 1)
    figure, axes = plt.subplots(1, panels, squeeze=False, figsize=(7 if panels == 1 else 11, 3.2))
    kind(result["data"], *axes[0])
    folder.mkdir(parents=True, exist_ok=True)
    name = f"bench-{result['name'].replace('_', '-')}.svg"
    figure.savefig(folder / name, metadata={"Date": None})
    plt.close(figure)
    return name
