"""Runs steps: checks the language, repeats what failed, and returns a result in every case."""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, Final

import structlog

from analyzer import metrics
from analyzer.document import Document
from analyzer.steps.base import Progress, Step, StepOptions, StepUnavailableError
from parlando.errors import JobEndedError, JobNotFoundError, ModelError, ParlandoError, UnavailableError

ATTEMPTS: Final = 3
PAUSE_S: Final = 0.5  # before the second attempt; it doubles
LIMIT_S: Final = 3600.0  # for one attempt

log = structlog.get_logger(part="steps")


async def ignore(partial: dict[str, Any]) -> None:
    """A `Progress` that drops partial results."""


class StepRunner:
    """The steps of this analyzer by name."""

    def __init__(self, steps: Iterable[Step], *, language_model: bool) -> None:
        self._steps = {step.name: step for step in steps}
        self._language_model = language_model

    @property
    def names(self) -> list[str]:
        """The names of all steps."""
        return list(self._steps)

    def live(self, names: Sequence[str]) -> list[str]:
        """Those of `names` that can process single segments."""
        return [name for name in names if name in self._steps and self._steps[name].live]

    def possible(self, names: Sequence[str]) -> list[str]:
        """Those of `names` whose models are configured."""
        return [
            name
            for name in names
            if name in self._steps and (self._language_model or not self._steps[name].needs_language_model)
        ]

    async def run(
        self, name: str, document: Document, options: StepOptions, progress: Progress = ignore
    ) -> dict[str, Any]:
        """The result of a step, with its `status`: `done`, or `unavailable` or `failed` with a `reason`.

        A step that raises is tried `ATTEMPTS` times.

        Raises
        ------
        JobEndedError, JobNotFoundError, UnavailableError
            if `progress` raises them.

        """
        step = self._steps.get(name)
        with metrics.STEP_SECONDS.labels(name).time():
            if step is None:
                result = _unavailable(f"this analyzer has no step {name}")
            elif not document.passages:
                result = _unavailable("there is no text")
            elif step.languages and document.language and document.language not in step.languages:
                languages = ", ".join(sorted(step.languages))
                result = _unavailable(
                    f"the text is in the language {document.language}, the step understands {languages}"
                )
            else:
                result = await self._attempts(step, document, options, progress)
        metrics.STEPS.labels(name, result["status"]).inc()
        return result

    async def _attempts(
        self, step: Step, document: Document, options: StepOptions, progress: Progress
    ) -> dict[str, Any]:
        reason = ""
        for attempt in range(ATTEMPTS):
            if attempt:
                await asyncio.sleep(PAUSE_S * 2 ** (attempt - 1))
            try:
                async with asyncio.timeout(LIMIT_S):
                    return {"status": "done", **await step.run(document, options, progress)}
            except (StepUnavailableError, ModelError) as error:
                return _unavailable(error.message)
            except (JobEndedError, JobNotFoundError, UnavailableError):
                raise  # from `progress`: the task has ended, or Redis can't be reached
            except ParlandoError as error:
                reason = error.message
                log.warning("step.failed", step=step.name, attempt=attempt + 1, error=reason)
            except Exception as error:
                reason = f"{type(error).__name__}; the analyzer's log has the details"
                log.exception("step.failed", step=step.name, attempt=attempt + 1)
        return {"status": "failed", "reason": reason}


def _unavailable(reason: str) -> dict[str, Any]:
    return {"status": "unavailable", "reason": reason}
