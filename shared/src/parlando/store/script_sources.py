"""The Lua scripts of `lua/` as they are sent to Redis.

The first line of a script may say `-- with <name> …`:

- `expiry`, `feed`, `job`, `delivery`: that file is put in front of it, behind what it asks for itself;
- `once`: the script is safe to repeat because its answer is stored with its effect (see `lua/once.lua`). The
  scripts without it are safe to repeat because they compare what is stored with what is being written.

In front of all stand the lifetimes of `keys.py`, in seconds, and the length of the feed.
"""

from importlib.resources import files
from typing import Final

from parlando.store.keys import ANSWER_TTL_S, LONG_TTL_S, MAX_FEED, USAGE_TTL_S

ONCE: Final = "once"
_SHARED: Final = frozenset({"delivery", "expiry", "feed", "job", ONCE})
"""Files that are no scripts by themselves."""
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
    """What the first line of a script says it is to be put together with."""
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


_TEXTS: Final = _files()
SOURCES: Final[dict[str, str]] = {name: _assembled(name, _TEXTS) for name in _TEXTS if name not in _SHARED}
"""Script name → its whole text."""
REMEMBERED: Final = frozenset(name for name in SOURCES if ONCE in _needs(_TEXTS[name]))
"""The scripts whose answer is stored: they get one more key, that of the answer."""
