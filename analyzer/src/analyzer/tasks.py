"""The analysis of one job: follows its transcription, then runs the steps, and sends an update about each.

Any analyzer can continue what another one began: results are annotations of the job, which have the name of
their step, and the updates that were sent are known by their place in the order. So nothing is done twice
that has a result, and no update is sent twice.
"""

import time
from functools import partial
from typing import Any, Final

import orjson
import structlog

from analyzer import metrics
from analyzer.document import Document
from analyzer.language_model import spent_on, total
from analyzer.step_runner import StepRunner
from analyzer.steps.base import StepOptions
from parlando.domain.analysis import TRANSCRIPTION, Phase, TaskUpdate, phases_of
from parlando.domain.job_events import JobEvent
from parlando.domain.transcript import FinalSegment, Transcript
from parlando.errors import ConflictError, JobEndedError, JobNotFoundError
from parlando.store.analysis_tasks import ANALYZER, AnalysisTasks
from parlando.store.annotations import Annotations
from parlando.store.history import History
from parlando.store.job_store import JobRecord, Jobs
from parlando.store.pubsub import Channels
from parlando.store.relay import Relay
from parlando.store.work_queue import Delivered

ATTEMPTS: Final = 10
"""Most deliveries of a task to analyzers; then it fails. A killed analyzer counts as one."""
EVERY_S: Final = 0.2  # least time between two partial results of a task
LARGEST: Final = 100_000  # bytes of a partial result of a step
SHOWN: Final = 20_000  # most characters of a partial transcript: the end of a longer one
FLAT: Final = frozenset({"translation", "ner"})
"""Phases with one step, whose result is the partial result itself."""
STARTS: Final = {
    "translation": "Translating the text",
    "ner": "Finding named entities",
    "classification": "Classifying the content",
    "summarization": "Summarising",
    "insights": "Collecting insights",
}

log = structlog.get_logger(part="tasks")


class TaskProcessor:
    """Processes tasks from their queue; see the module."""

    def __init__(
        self,
        jobs: Jobs,
        history: History,
        channels: Channels,
        tasks: AnalysisTasks,
        annotations: Annotations,
        steps: StepRunner,
    ) -> None:
        self._jobs = jobs
        self._history = history
        self._channels = channels
        self._tasks = tasks
        self._annotations = annotations
        self._steps = steps

    async def process(self, delivered: Delivered) -> bool:
        """Process a task to its end. Returns True, also if it was cancelled or its job was deleted."""
        job = delivered.fields[b"job"].decode()
        try:
            if delivered.attempt > ATTEMPTS:
                await self._end(job, "failed", f"The analysis failed {ATTEMPTS} times; the logs have details")
            else:
                await self._run(await self._jobs.record(job))
        except JobNotFoundError:
            log.info("task.gone", job=job)
        except JobEndedError:
            log.info("task.ended", job=job)
        return True

    async def _run(self, record: JobRecord) -> None:
        await self._update(record.job, "started", 5, "Processing has started")
        await self._update(record.job, TRANSCRIPTION.name, TRANSCRIPTION.begins, "Transcribing the audio")
        end = await self._transcription(record.job)
        if end.type == "completed":
            await self._analysis(await self._jobs.record(record.job))
        elif end.type == "failed":
            message = (end.error or {}).get("message", "The transcription failed")
            await self._end(record.job, "failed", message, {"error": end.error})
        else:
            await self._end(record.job, "cancelled", "The task was cancelled")

    # --- transcription ------------------------------------------------------------------------

    async def _transcription(self, job: str) -> JobEvent:
        """Send partial transcripts until the job has ended. Returns its last event."""
        text, sent_at, sent = "", 0.0, 0
        relay = Relay(self._history, self._channels, job, after=0, admitted=partial(self._jobs.known, job))
        async with relay:
            async for batch in relay.batches():
                for envelope in batch:
                    event = envelope.message
                    if not isinstance(event, JobEvent):
                        continue
                    if event.type in ("completed", "failed", "cancelled"):
                        return event
                    words = [str(s["text"]) for s in event.segments if s.get("text")]
                    text = " ".join([text, *words] if text else words)
                    if len(text) > sent and time.monotonic() - sent_at >= EVERY_S:
                        sent_at, sent = time.monotonic(), len(text)
                        await self._partial_transcript(job, text, event.progress)
        raise JobNotFoundError(f"Job {job} ended without an event")

    async def _partial_transcript(self, job: str, text: str, share: float) -> None:
        phase = TRANSCRIPTION
        progress = phase.begins + int((phase.ends - 1 - phase.begins) * share)
        partial_result: dict[str, Any] = {"transcript": text[-SHOWN:], "is_final": False}
        if len(text) > SHOWN:
            partial_result["skipped_characters"] = len(text) - SHOWN
        await self._update(job, phase.name, progress, "Transcribing the audio", partial_result, kept=False)

    # --- analysis -----------------------------------------------------------------------------

    async def _analysis(self, record: JobRecord) -> None:
        transcript = await self._jobs.transcript(record)
        whole = _transcript(transcript)
        await self._update(record.job, TRANSCRIPTION.complete, TRANSCRIPTION.ends, "Transcript ready", whole)
        document = Document.of(transcript.segments, transcript.language)
        results: dict[str, Any] = {}
        for phase in phases_of(record.options.steps):
            await self._update(record.job, phase.name, phase.begins, STARTS[phase.name])
            found = await self._phase(record, phase, document)
            results |= found
            shown = found[phase.steps[0]] if phase.name in FLAT else found
            await self._update(
                record.job, phase.complete, phase.ends, _outcome(found), {**shown, "is_final": True}
            )
        usage = total(results.values())
        everything = {**whole, "results": results, "usage": usage}
        if text := results.get("translation", {}).get("translation"):
            everything["translation"] = text
        await self._end(record.job, "completed", "Processing is complete", everything)

    async def _phase(self, record: JobRecord, phase: Phase, document: Document) -> dict[str, Any]:
        """The results of a phase's steps by name; those that exist already aren't made again."""
        options = StepOptions(target_language=record.options.target_language)
        keys = self._annotations.of_job(record.job)
        stored = {a.kind: a.data async for a in self._annotations.all(keys) if a.by == ANALYZER}
        results: dict[str, Any] = {}
        for number, name in enumerate(phase.steps):
            if name not in stored:
                progress = phase.begins + (phase.ends - phase.begins) * number // len(phase.steps)
                send = _PartialResults(self, record.job, phase, name, progress)
                data = await self._steps.run(name, document, options, send)
                stored[name] = await self._keep(record.job, name, data)
            results[name] = stored[name]
        return results

    async def _keep(self, job: str, name: str, data: dict[str, Any]) -> dict[str, Any]:
        """Store a result. Returns the stored one, which another analyzer may have made meanwhile."""
        keys = self._annotations.of_job(job)
        try:
            number = await self._annotations.add(
                keys, name=name, kind=name, by=ANALYZER, data=data, spent=spent_on([data])
            )
        except ConflictError as error:  # followers have added too many annotations
            return {"status": "failed", "reason": error.message}
        annotation = await anext(self._annotations.all(keys, after=number - 1))
        return annotation.data

    # --- updates ------------------------------------------------------------------------------

    async def _end(self, job: str, name: str, message: str, result: dict[str, Any] | None = None) -> None:
        await self._update(job, name, 100, message, result)
        metrics.ENDED.labels(name).inc()

    async def _update(
        self,
        job: str,
        step: str,
        progress: int,
        message: str,
        partial_result: dict[str, Any] | None = None,
        *,
        kept: bool = True,
    ) -> None:
        update = TaskUpdate(
            task_id=job, step=step, progress=progress, message=message, partial_result=partial_result
        )
        await self._tasks.update(update, kept=kept)

    async def partial_result(self, job: str, phase: Phase, progress: int, result: dict[str, Any]) -> None:
        """Send a partial result of a phase."""
        await self._update(job, phase.name, progress, STARTS[phase.name], result, kept=False)


class _PartialResults:
    """A `Progress` that sends partial results as updates: at most one in `EVERY_S`, none above `LARGEST`."""

    def __init__(self, tasks: TaskProcessor, job: str, phase: Phase, step: str, progress: int) -> None:
        self._tasks = tasks
        self._job = job
        self._phase = phase
        self._step = step
        self._progress = progress
        self._sent_at = 0.0

    async def __call__(self, partial_result: dict[str, Any]) -> None:
        if time.monotonic() - self._sent_at < EVERY_S:
            return
        if len(orjson.dumps(partial_result)) > LARGEST:
            return
        self._sent_at = time.monotonic()
        shown = partial_result if self._phase.name in FLAT else {self._step: partial_result}
        await self._tasks.partial_result(self._job, self._phase, self._progress, shown)


def _transcript(transcript: Transcript) -> dict[str, Any]:
    return {
        "transcript": transcript.text,
        "is_final": True,
        "language": transcript.language,
        "duration": transcript.duration,
        "segments": [_segment(segment) for segment in transcript.segments if segment.text],
    }


def _segment(segment: FinalSegment) -> dict[str, Any]:
    return segment.model_dump(
        include={"segment", "start", "end", "text", "speaker", "language"}, exclude_none=True
    )


def _outcome(results: dict[str, Any]) -> str:
    """The message of a phase's end: with the reasons of the steps that have no result."""
    done = [name for name, result in results.items() if result["status"] == "done"]
    missing = [f"no {name}: {r['reason']}" for name, r in results.items() if r["status"] != "done"]
    return "; ".join([f"Ready: {', '.join(done)}", *missing] if done else missing)
