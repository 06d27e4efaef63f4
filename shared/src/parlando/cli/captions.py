"""Captions in a terminal: finals as lines, the open segment below them, stable text in bold."""

from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.live import Live
from rich.text import Text


class Captions:
    """A context manager; call `show` with every event of a session."""

    def __init__(self) -> None:
        self._console = Console()
        self._live = Live(console=self._console, refresh_per_second=20, transient=True)

    def __enter__(self) -> Self:
        self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.__exit__(kind, error, trace)

    def show(self, event: dict[str, Any]) -> None:
        """Update the captions with one event."""
        match event["type"]:
            case "partial":
                stable = event["stable"]
                tail = event["text"].removeprefix(stable)
                self._live.update(Text.assemble(_speaker(event), (stable, "bold"), (tail, "dim italic")))
            case "final" if event["text"]:
                self._live.update("")
                self._console.print(Text.assemble(_speaker(event), event["text"]), soft_wrap=True)
            case "restarted":
                self._console.print("[yellow]The session was opened anew; its text may be repeated[/]")
            case "unprotected":
                self._console.print(
                    "[yellow]Too much audio is unsettled: if Redis lost its data, part of it would be lost[/]"
                )
            case "status":
                self._console.print(
                    Text(f"{event['status']}: {event['ms']} ms ({event['reason']})", "yellow")
                )


def _speaker(event: dict[str, Any]) -> tuple[str, str]:
    """The label of a segment's speaker before its text."""
    return (f"{event['speaker']}: " if event.get("speaker") else "", "cyan")
