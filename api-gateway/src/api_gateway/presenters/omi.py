"""Fields of segments in the format of Omi's backend and app (docs/omi.md). Pure."""

from typing import Any

from api_gateway.presenters.speakers import speaker_number


def speaker_of(speaker: str | None) -> dict[str, Any]:
    """The fields of the speaker; `SPEAKER_00` if the speaker is unknown."""
    label = speaker or "SPEAKER_00"
    return {"speaker": label, "speaker_id": speaker_number(label) or 0}
