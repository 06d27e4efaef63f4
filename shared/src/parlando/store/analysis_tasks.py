"""Analyses of jobs: which steps are possible, the updates of a task, its state.

A task is the analysis of a job and has the job's id. Its results are annotations of the job; its updates are
kept in a stream beside it, and published on the channel `audio_stream:<id>`.
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Final

import orjson

from parlando.domain.analysis import PLACES, TaskUpdate
from parlando.errors import InvalidRequestError, JobEndedError, JobNotFoundError, NoAnalyzerError
from parlando.store import keys as names
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.heartbeat import alive
from parlando.store.job_store import JobRecord, unknown
from parlando.store.keys import ANALYZERS, JobKeys
from parlando.store.requests import RequestQueue

ANALYZER: Final = "analyzer"
"""The kind of the analyzers in their heartbeats."""
PAGE: Final = 200

DIGESTS: Final = RequestQueue(
    worker=ANALYZER,
    stream="stt:{analysis}:requests",
    group=ANALYZERS,
    reply="stt:{analysis}:reply:",
    missing=NoAnalyzerError,
    about="digests",
)
"""Requests for digests of live sessions."""


@dataclass(frozen=True, slots=True)
class TaskState:
    """Where a task is: its last update, None before the first; the number of its last kept update."""

    last: TaskUpdate | None
    seq: int


class AnalysisTasks:
    """The tasks of a keyspace with `partitions`. An `EventSource` of their updates, for `Relay`."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._partitions = partitions

    # --- a gateway's side ---------------------------------------------------------------------

    async def check(self, steps: Collection[str]) -> None:
        """Check that all steps can be done.

        Raises
        ------
        NoAnalyzerError
            if no analyzer is running.
        InvalidRequestError
            if no analyzer has one of the steps.

        """
        reports = [report for report in await alive(self._redis) if report["kind"] == ANALYZER]
        if not reports:
            raise NoAnalyzerError(
                "No analyzer is running; start one (`ANALYZER=1 make run`), then send the request again"
            )
        known = {step for report in reports for step in report["steps"]}
        if missing := [step for step in steps if step not in known]:
            raise InvalidRequestError(
                f"Expected steps that an analyzer has ({', '.join(sorted(known))}), but got {missing[0]}"
            )

    async def state(self, record: JobRecord) -> TaskState:
        """The state of the analysis of a job. Raises `JobNotFoundError` if the job is not analysed."""
        if not record.options.analyze:
            raise JobNotFoundError(f"Job {record.job} has no analysis: it was submitted without `analyze`")
        name = JobKeys.of(record.job, self._partitions).record
        found: Any = await retried(lambda: self._redis.hmget(name, "task_last", "task_seq"))
        last = TaskUpdate.model_validate_json(found[0]) if found[0] else None
        return TaskState(last, int(found[1] or 0))

    def channel(self, name: str) -> str:
        """See `relay.EventSource`."""
        return names.updates_channel(name)

    async def events(self, name: str, *, after: int, count: int = PAGE) -> list[bytes]:
        """See `relay.EventSource`."""
        key = JobKeys.of(name, self._partitions).updates
        entries: Any = await retried(lambda: self._redis.xrange(key, min=f"({after}-0", count=count))
        return [fields[b"e"] for _, fields in entries]

    # --- an analyzer's side -------------------------------------------------------------------

    async def update(self, update: TaskUpdate, *, kept: bool) -> None:
        """Publish an update. One whose place in the order was passed is not written.

        `kept`: False for a partial result.

        Raises
        ------
        JobNotFoundError
            if the job was deleted or has expired.
        JobEndedError
            if the last update was sent before.
        UnavailableError

        """
        keys = JobKeys.of(update.task_id, self._partitions)
        before = orjson.dumps({"task_id": update.task_id, "step": update.step})[1:-1] + b',"progress":'
        after = orjson.dumps(
            update.model_dump(include={"message", "partial_result", "timestamp"}, exclude_none=True)
        )
        answer = await self._scripts.run(
            "task_update",
            [keys.record, keys.updates],
            [
                PLACES.get(update.step, PLACES["completed"]),
                int(kept),
                update.progress,
                names.updates_channel(update.task_id),
                before,
                b"," + after[1:],
            ],
        )
        if answer is None:
            raise unknown(update.task_id)
        if answer == [PLACES["completed"], 0]:
            raise JobEndedError(f"Task {update.task_id} has ended")

    async def cancel(self, job: str) -> None:
        """End a task as cancelled: no analyzer works on it any more. Raises as `update`."""
        await self.update(
            TaskUpdate(task_id=job, step="cancelled", progress=100, message="The task was cancelled"),
            kept=True,
        )
