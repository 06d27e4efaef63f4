"""The result of one check."""

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How serious a finding is. With a problem something doesn't work."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found. `do`: what to do about it, empty if nothing."""

    check: str
    level: Level
    found: str
    do: str = ""


def ok(check: str, found: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, found)


def warning(check: str, found: str, do: str) -> Finding:
    """It works, but not as well as it should, or not for long."""
    return Finding(check, Level.WARNING, found, do)


def problem(check: str, found: str, do: str) -> Finding:
    """It doesn't work."""
    return Finding(check, Level.PROBLEM, found, do)
