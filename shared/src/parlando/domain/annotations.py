"""What followers say of a session or a job besides its own events: songs, summaries, entities."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from parlando.domain.events import now


class Annotation(BaseModel):
    """One annotation. `number` counts those of a session (or job) from 1, independently of the events' `seq`.

    `epoch`: see `events.Persisted`. `kind`: what `data` is, `song` say. `by`: the follower that says it.
    """

    type: Literal["annotation"] = "annotation"
    session_id: str
    number: int = 0
    epoch: int = 0
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    by: str
    data: dict[str, Any]
    timestamp: str = Field(default_factory=now)
