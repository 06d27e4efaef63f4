"""Annotations that followers add to a session or job: songs, summaries, entities."""

from typing import Any, Literal

from pydantic import BaseModel, Field

from parlando.domain.events import now


class Annotation(BaseModel):
    """One annotation of a session or job.

    `number`: counts the annotations of the session or job from 1, independently of the events' `seq`.
    `epoch`: see `events.Persisted`. `kind`: type of `data`, for example `song`. `by`: name of the follower.
    """

    type: Literal["annotation"] = "annotation"
    session_id: str
    number: int = 0
    epoch: int = 0
    kind: str = Field(pattern=r"^[a-z][a-z0-9_]{0,63}$")
    by: str
    data: dict[str, Any]
    timestamp: str = Field(default_factory=now)
