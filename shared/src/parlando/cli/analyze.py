"""`parlando analyze FILE`: what a recording contains, with the progress meanwhile."""

import asyncio
import json
from collections.abc import Iterable
from contextlib import aclosing
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from parlando.client import AnalysisClient, ClientError
from parlando.domain.analysis import TaskUpdate

MAX_ENTITIES: Final = 12  # of one label that are shown
KNOWN: Final = frozenset(
    {
        "translation",
        "entities",
        "language",
        "topics",
        "sentiment",
        "summary",
        "key_sentences",
        "keywords",
        "insights",
        "questions",
        "actions",
    }
)
"""Steps with a section of their own; results of plug-ins are shown as JSON."""

Document = dict[str, Any]
Section = tuple[str, list[str]]


async def run(
    file: Path, *, url: str, key: str | None, options: Document, as_json: bool, out: Path | None
) -> None:
    """Analyse a file and write the result. Raises `ClientError` if the task fails or is cancelled."""
    tasks: list[str] = []
    async with AnalysisClient(url, api_key=key) as client:
        try:
            last = await _analysed(client, file, options, tasks)
        except asyncio.CancelledError:  # Ctrl-C
            for task in tasks:
                await client.cancel(task)
            raise
    result = last.partial_result or {}
    if last.step != "completed":
        raise ClientError((result.get("error") or {}).get("code", last.step), last.message)
    if as_json:
        _write(json.dumps(result, ensure_ascii=False, indent=2) + "\n", out)
    elif out is not None:
        _write(text_of(result), out)
    else:
        _print(sections(result))


async def _analysed(client: AnalysisClient, file: Path, options: Document, tasks: list[str]) -> TaskUpdate:
    """Show all updates; returns the last one. Adds the task's id to `tasks` as soon as it is known."""
    size = _size(file)
    with Display(file.name) as display:
        updates = client.analyze(
            file, sent=lambda count: display.uploaded(count / size), begun=tasks.append, **options
        )
        async with aclosing(updates):
            async for update in updates:
                display.show(update)
                if update.ends:
                    return update
    raise ClientError("task_lost", "The task has ended without a last update")


def _size(file: Path) -> int:
    return max(1, file.stat().st_size)


def _write(text: str, out: Path | None) -> None:
    if out is None:
        typer.echo(text, nl=False)
    else:
        out.write_text(text)


def _print(parts: Iterable[Section]) -> None:
    console = Console(highlight=False)
    for number, (heading, lines) in enumerate(parts):
        if number:
            console.print()
        console.print(Text(heading, "bold"), soft_wrap=True)
        for line in lines:
            console.print(Text(line), soft_wrap=True)


class Display:
    """A context manager: a progress bar and the end of the newest partial text, if this is a terminal."""

    def __init__(self, name: str) -> None:
        console = Console(stderr=True)
        self._name = name
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f}%")
        )
        self._row = self._bar.add_task(name, total=100)
        self._width = console.width
        self._live = (
            Live(self._bar, console=console, refresh_per_second=10, transient=True)
            if console.is_terminal
            else None
        )

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.__exit__(kind, error, trace)

    def uploaded(self, share: float) -> None:
        """Show the share of the file that is uploaded."""
        self._bar.update(self._row, description=f"{self._name} ↑ {share:.0%}")

    def show(self, update: TaskUpdate) -> None:
        """Show one update."""
        message = update.message.partition(";")[0]
        self._bar.update(self._row, description=f"{self._name}: {message}", completed=update.progress)
        if self._live is not None:
            line = partial_text(update)[-self._width + 1 :]
            self._live.update(Group(self._bar, Text(line, "dim italic", no_wrap=True)))


def partial_text(update: TaskUpdate) -> str:
    """The text of a partial result in one line; empty if it has none."""
    partial = update.partial_result or {}
    if partial.get("is_final", True):
        return ""
    text = partial.get("transcript") or partial.get("translation") or ""
    return " ".join(str(text).split())


# --- the report -----------------------------------------------------------------------------------


def text_of(result: Document) -> str:
    """The report as plain text."""
    parts = ("\n".join([heading, *lines]) + "\n" for heading, lines in sections(result))
    return "\n".join(parts)


def sections(result: Document) -> list[Section]:
    """A completed task's result as sections for a reader. What has no finding is left out."""
    done = {name: each for name, each in result["results"].items() if each["status"] == "done"}
    parts = [
        (_heading(result, done), _transcript(result)),
        _translation(done.get("translation", {})),
        ("Entities", _entities(done.get("entities", {}).get("counts", ()))),
        ("Topics", _joined(map(_scored, done.get("topics", {}).get("topics", ())))),
        ("Sentiment", _sentiment(done.get("sentiment", {}))),
        _summary(done),
        ("Keywords", _joined(each["text"] for each in done.get("keywords", {}).get("keywords", ()))),
        ("Questions", _timed(done.get("questions", {}).get("questions", ()))),
        ("Action items", _timed(done.get("actions", {}).get("actions", ()))),
        ("Insights", [f"  {i['kind']}: {i['text']}" for i in done.get("insights", {}).get("insights", ())]),
        *((name, [f"  {_data(each)}"]) for name, each in done.items() if name not in KNOWN),
        ("Not available", _missing(result["results"])),
    ]
    return [(heading, lines) for heading, lines in parts if lines]


def _heading(result: Document, done: Document) -> str:
    language = result.get("language") or done.get("language", {}).get("language")
    return f"Transcript ({', '.join(filter(None, (language, _clock(result.get('duration') or 0))))})"


def _transcript(result: Document) -> list[str]:
    """The text; with speakers, a line for each turn."""
    segments = result.get("segments") or []
    if not any(segment.get("speaker") for segment in segments):
        return [f"  {result['transcript'] or '(no speech)'}"]
    turns: list[tuple[str, list[str]]] = []
    for segment in segments:
        speaker = segment.get("speaker") or "?"
        if not turns or turns[-1][0] != speaker:
            turns.append((speaker, []))
        turns[-1][1].append(segment["text"])
    return [f"  {speaker}: {' '.join(texts)}" for speaker, texts in turns]


def _translation(found: Document) -> Section:
    text = found.get("translation")
    return f"Translation ({found.get('language')})", [f"  {text}"] if text else []


def _entities(counts: Iterable[Document]) -> list[str]:
    """A line for each label."""
    labels: dict[str, list[str]] = {}
    for each in counts:
        times = f" ({each['count']})" if each["count"] > 1 else ""
        labels.setdefault(each["label"], []).append(f"{each['text']}{times}")
    lines = []
    for label, names in labels.items():
        more = f", and {len(names) - MAX_ENTITIES} more" if len(names) > MAX_ENTITIES else ""
        lines.append(f"  {label}: {', '.join(names[:MAX_ENTITIES])}{more}")
    return lines


def _sentiment(found: Document) -> list[str]:
    if not found:
        return []
    shares = ", ".join(f"{share:.0%} {name}" for name, share in found["share"].items())
    return [f"  {found['sentiment']}: {shares} of the words"]


def _summary(done: Document) -> Section:
    """The summary, or without one the key sentences."""
    if summary := done.get("summary"):
        return "Summary", [f"  {summary['summary']}", *(f"  - {point}" for point in summary["points"])]
    return "Key sentences", _timed(done.get("key_sentences", {}).get("key_sentences", ()))


def _timed(items: Iterable[Document]) -> list[str]:
    """Sentences with their times and speakers."""
    return [
        f"  {_clock(item['start'])} {item['speaker'] + ': ' if item.get('speaker') else ''}{item['text']}"
        for item in items
    ]


def _missing(results: Document) -> list[str]:
    """The steps without a result, by reason."""
    reasons: dict[str, list[str]] = {}
    for name, each in results.items():
        if each["status"] != "done":
            reasons.setdefault(each.get("reason", each["status"]), []).append(name)
    return [f"  {', '.join(names)}: {reason}" for reason, names in reasons.items()]


def _scored(topic: Document) -> str:
    return f"{topic['label']} ({topic['score']:.2f})"


def _joined(names: Iterable[str]) -> list[str]:
    line = ", ".join(names)
    return [f"  {line}"] if line else []


def _data(each: Document) -> str:
    return json.dumps({k: v for k, v in each.items() if k != "status"}, ensure_ascii=False)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
