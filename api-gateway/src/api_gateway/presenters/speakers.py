"""Labels of speakers as other services write them. Pure."""

import re
from collections.abc import Sequence

_NUMBERED = re.compile(r"SPEAKER_(\d{1,4})")


def speaker_number(speaker: str | None) -> int | None:
    """The number in a label of the form `SPEAKER_00`; None for any other."""
    numbered = _NUMBERED.fullmatch(speaker or "")
    return int(numbered[1]) if numbered else None


def lettered(speaker: str, names: Sequence[str] = ()) -> str:
    """`A` for `SPEAKER_00`, or the name at its place in `names`; another label stays as it is."""
    number = speaker_number(speaker)
    if number is None:
        return speaker
    if number < len(names):
        return names[number]
    return chr(ord("A") + number) if number < 26 else f"speaker_{number}"
