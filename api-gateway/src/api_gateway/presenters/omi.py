"""Fields of segments in the format of Omi's backend and app (docs/omi.md). Pure."""

import re
from typing import Any

_NUMBERED = re.compile(r"SPEAKER_(\d{1,4})$")


def speaker_of(speaker: str | None) -> dict[str, Any]:
    """The fields of the speaker; `SPEAKER_00` if the speaker is unknown."""
    label = speaker or "SPEAKER_00"
    numbered = _NUMBERED.match(label)
    return {"speaker": label, "speaker_id": int(numbered[1]) if numbered else 0}
