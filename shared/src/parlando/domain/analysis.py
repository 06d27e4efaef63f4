"""The analysis of a transcript: its steps in their phases, and the updates that a task sends. Pure."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel, Field

from parlando.domain.events import now

STEPS_PATTERN: Final = r"^[a-z0-9_,]*$"


@dataclass(frozen=True, slots=True)
class Phase:
    """Steps that a task reports together. `begins`, `ends`: its progress in percent."""

    name: str
    begins: int
    ends: int
    steps: tuple[str, ...]

    @property
    def complete(self) -> str:
        """The name of the update that has the results."""
        return f"{self.name}_complete"


TRANSCRIPTION: Final = Phase("transcription", 10, 30, ())
PHASES: Final = (
    Phase("translation", 35, 50, ("translation",)),
    Phase("ner", 60, 65, ("entities",)),
    Phase("classification", 70, 75, ("language", "topics", "sentiment")),
    Phase("summarization", 80, 85, ("summary", "key_sentences", "keywords")),
    Phase("insights", 90, 95, ("insights", "questions", "actions")),
)
"""The phases after the transcription. Steps of plug-ins are done in the last one."""
ENDS: Final = frozenset({"completed", "failed", "cancelled"})
"""The names of the last update."""
PLACES: Final = {
    name: place
    for place, name in enumerate(
        [
            "started",
            TRANSCRIPTION.name,
            TRANSCRIPTION.complete,
            *(name for phase in PHASES for name in (phase.name, phase.complete)),
            "completed",
        ],
        start=1,
    )
}
"""Name of a kept update → its place in the order. `failed` and `cancelled` have that of `completed`."""

DIGEST: Final = ("topics", "summary", "key_sentences", "keywords", "entities", "questions", "actions")
"""The steps of a digest of a live session."""


def step_names(analyze: str) -> tuple[str, ...]:
    """The steps named in the option `analyze`, each once."""
    return tuple(dict.fromkeys(name for name in analyze.split(",") if name))


def phases_of(steps: tuple[str, ...]) -> tuple[Phase, ...]:
    """The phases that have any of the steps, with these steps only."""
    placed = {step for phase in PHASES for step in phase.steps}
    others = tuple(step for step in steps if step not in placed)
    phases = []
    for phase in PHASES:
        chosen = tuple(step for step in phase.steps if step in steps)
        if phase is PHASES[-1]:
            chosen += others
        if chosen:
            phases.append(Phase(phase.name, phase.begins, phase.ends, chosen))
    return tuple(phases)


class TaskUpdate(BaseModel):
    """One update of a task. `progress`: in percent.

    `seq`: counts the kept updates of the task from 1; None for a partial result, which is not kept.
    `after`: number of the last kept update before it.
    `partial_result`: what there is so far, or the results of a phase, or with `completed` all of them.
    """

    type: Literal["update"] = "update"
    seq: int | None = None
    after: int = 0
    task_id: str
    step: str
    progress: int = Field(ge=0, le=100)
    message: str
    partial_result: dict[str, Any] | None = None
    timestamp: str = Field(default_factory=now)

    @property
    def ends(self) -> bool:
        """Whether it is the last update."""
        return self.step in ENDS
