"""Usage as JSON documents and as CSV."""

import csv
import io
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from parlando.store.usage import DayUsage, Used

COLUMNS: Final = (
    "live_audio_s",
    "job_audio_s",
    "omi_audio_s",
    "earlier_audio_s",
    "audio_s",
    "sessions",
    "jobs",
    "files",
    "llm_requests",
    "llm_input_tokens",
    "llm_output_tokens",
    "audio_cost_usd",
    "llm_cost_usd",
    "cost_usd",
)
"""What is counted, in the order of the columns."""
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_HOUR_MS: Final = 3_600_000


def amounts(used: Used, price: float) -> dict[str, Any]:
    """What was used, and its cost. Audio in seconds, `price` in US dollars per hour of audio."""
    audio_usd, llm_usd = used.audio_ms / _HOUR_MS * price, used.llm_micros / 1_000_000
    return {
        "live_audio_s": used.live_ms / 1000,
        "job_audio_s": used.job_ms / 1000,
        "omi_audio_s": used.omi_ms / 1000,
        "earlier_audio_s": used.earlier_ms / 1000,
        "audio_s": used.audio_ms / 1000,
        "sessions": used.sessions,
        "jobs": used.jobs,
        "files": used.files + used.earlier_files,
        "llm_requests": used.llm_requests,
        "llm_input_tokens": used.llm_input_tokens,
        "llm_output_tokens": used.llm_output_tokens,
        "audio_cost_usd": round(audio_usd, 6),
        "llm_cost_usd": round(llm_usd, 6),
        "cost_usd": round(audio_usd + llm_usd, 6),
    }


def rows(
    days: Iterable[DayUsage], price: float, name_of: Callable[[str], str | None]
) -> list[dict[str, Any]]:
    """A document for each owner and day. `name_of`: the name of an owner."""
    return [
        {
            "day": each.day.isoformat(),
            "owner": each.owner,
            "owner_name": name_of(each.owner),
            **amounts(each.used, price),
        }
        for each in days
    ]


def as_csv(days: Sequence[Mapping[str, Any]]) -> str:
    """The documents of `rows` as CSV (RFC 4180) with a line of names. No cell is a spreadsheet's formula."""
    file = io.StringIO(newline="")
    writer = csv.writer(file)
    writer.writerow(("day", "owner", "owner_name", *COLUMNS))
    for each in days:
        writer.writerow((each["day"], each["owner"], _plain(each["owner_name"]), *(each[c] for c in COLUMNS)))
    return file.getvalue()


def _plain(text: str | None) -> str:
    """A text that a spreadsheet doesn't take for a formula."""
    return f"'{text}" if text and text.startswith(_FORMULA) else text or ""
