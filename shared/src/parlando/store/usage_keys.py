"""The names of the Redis keys that count usage.

| key                     | type   | content                                                             |
|-------------------------|--------|---------------------------------------------------------------------|
| stt:{p}:usage:<day>     | hash   | `<owner>:<what>` → number: usage of all owners on a day, UTC        |
|                         |        | `<owner>:key-<id>_ms` → the part of its audio made with that key    |
| stt:{analysis}:usage:…  | hash   | the same of digests, whose requests are in this slot                |
| stt:{p}:usage:<key>:<m> | hash   | usage of a key in month <m>, by versions without days; only read    |
| stt:billed:<m>          | string | audio billed by a paid engine in month <m>, milliseconds            |

A day's hash lies in the slot of what is counted, so that one script stores a result and counts it.
"""

from datetime import UTC, date, datetime
from typing import Final

USAGE_TTL_S: Final = 400 * 24 * 3600
"""Lifetime in seconds that a new day's usage gets: a year and a month. Gateways change it to `USAGE_DAYS`."""
ANALYSIS: Final = "analysis"
"""The hash tag of digests."""


def usage(partition: int | str, day: str) -> str:
    """The usage of all owners on a day (`2026-11-27`), in the slot of a partition or of a hash tag."""
    return f"stt:{{{partition}}}:usage:{day}"


def earlier_usage(partition: int, owner: str, month: str) -> str:
    """The usage of an owner in a month (`2026-11`), as versions without days have counted it."""
    return f"stt:{{{partition}}}:usage:{owner[:16]}:{month}"


def billed(month: str) -> str:
    """Milliseconds of audio billed to the whole cluster by a paid engine in a month."""
    return f"stt:billed:{month}"


def today() -> date:
    """The current day in UTC."""
    return datetime.now(UTC).date()


def day() -> str:
    """The current day in UTC, `2026-11-27`."""
    return today().isoformat()


def month() -> str:
    """The current month in UTC, `2026-11`."""
    return day()[:7]
