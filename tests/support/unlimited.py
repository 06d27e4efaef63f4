"""Limits that limit nothing, for tests without a Redis of their own."""

from types import SimpleNamespace
from typing import Any


async def _nothing(*_: Any, **__: Any) -> None:
    return None


def unlimited() -> Any:
    """In place of a `LimitService`."""
    sessions = SimpleNamespace(admit=_nothing, release=_nothing)
    return SimpleNamespace(sessions=sessions, jobs=SimpleNamespace(admit=_nothing, refused=_nothing))
