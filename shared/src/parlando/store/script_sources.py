"""Assembles the Lua scripts of `lua/` for sending them to Redis.

The first line of a script may be `-- with <name> …`:

- `expiry`, `feed`, `usage`, `annotation`, `job`, `delivery`, `pending`: that file, after the files that it
  includes itself, is prepended;
- `once`: the script is safe to repeat because its answer is stored with its effect (see `lua/once.lua`).
  Scripts without it are safe to repeat because they compare the stored state with the call.

The scripts of `TOGETHER` have a second source, which runs them for several calls (see `lua/together.lua`).

All scripts begin with the lifetimes of `keys.py`, in seconds, and the maximum length of the feed.
"""

from importlib.resources import files
from typing import Final

from parlando.store.keys import ANSWER_TTL_S, LONG_TTL_S, MAX_FEED
from parlando.store.usage_keys import USAGE_TTL_S

ONCE: Final = "once"
_TOGETHER: Final = "together"
_SHARED: Final = frozenset(
    {"annotation", "delivery", "expiry", "feed", "job", "pending", "usage", ONCE, _TOGETHER}
)
"""Files that are only included in scripts."""
_CONSTANTS: Final = (
    f"local LONG_TTL_S, USAGE_TTL_S, ANSWER_TTL_S = {LONG_TTL_S}, {USAGE_TTL_S}, {ANSWER_TTL_S}\n"
    f"local MAX_FEED = {MAX_FEED}\n"
)


def _files() -> dict[str, str]:
    folder = files("parlando.store") / "lua"
    return {
        path.name.removesuffix(".lua"): path.read_text()
        for path in folder.iterdir()
        if path.name.endswith(".lua")
    }


def _needs(text: str) -> list[str]:
    """The names in the `-- with` line of a script."""
    first = text.partition("\n")[0]
    return first.removeprefix("-- with ").split() if first.startswith("-- with ") else []


def _with_needs(name: str, texts: dict[str, str]) -> str:
    parts = [_with_needs(need, texts) for need in _needs(texts[name]) if need != ONCE]
    return "".join([*parts, texts[name]])


def _assembled(name: str, texts: dict[str, str]) -> str:
    text = _with_needs(name, texts)
    if ONCE in _needs(texts[name]):
        text = f"local function script()\n{text}end\n{texts[ONCE]}"
    return _CONSTANTS + text


def _for_several(name: str, texts: dict[str, str]) -> str:
    script = _with_needs(name, texts)  # what it includes may use KEYS
    return f"{_CONSTANTS}local function script(KEYS, ARGV)\n{script}end\n{texts[_TOGETHER]}"


_TEXTS: Final = _files()
SOURCES: Final[dict[str, str]] = {name: _assembled(name, _TEXTS) for name in _TEXTS if name not in _SHARED}
"""Script name → complete source."""
REMEMBERED: Final = frozenset(name for name in SOURCES if ONCE in _needs(_TEXTS[name]))
"""The scripts whose answer is stored; the key of the answer is appended to their KEYS."""
TOGETHER: Final = {name: _for_several(name, _TEXTS) for name in ("append", "append_raw", "touch")}
"""Scripts that many tasks run at the same time → source that runs them for several calls."""
