"""Synchronous client for recordings and live audio.

with Parlando("http://127.0.0.1:8000") as parlando:
    print(parlando.transcribe("talk.m4a")["text"])
    for event in parlando.live(chunks):
        print(event["type"], event.get("text", ""))
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from types import TracebackType
from typing import Any, Self, TypeVar

from parlando.client import threaded
from parlando.client.analysis import AnalysisClient
from parlando.client.jobs import Document, JobsClient
from parlando.client.session import Event
from parlando.client.speakers import Names, SpeakersClient
from parlando.domain.analysis import TaskUpdate

T = TypeVar("T")


class Parlando:
    """Blocking versions of `JobsClient`, `AnalysisClient`, `SpeakersClient` and `connect`.

    For one thread, outside of event loops.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        self._runner = asyncio.Runner()
        self._jobs = JobsClient(url, api_key=api_key)
        self._analyses = AnalysisClient(url, api_key=api_key)
        self._speakers = SpeakersClient(url, api_key=api_key)
        self._socket_url = url.replace("http", "ws", 1)
        self._api_key = api_key

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._runner.run(self._jobs.aclose())
        self._runner.run(self._analyses.aclose())
        self._runner.run(self._speakers.aclose())
        self._runner.close()

    def transcribe(self, file: str | os.PathLike[str], **options: Any) -> Document:
        """Transcribe a file; returns the result."""
        return self._runner.run(self._jobs.transcribe(file, **options))

    def detect_language(self, file: str | os.PathLike[str], *, language: str | None = None) -> Document:
        """See `JobsClient.detect_language`."""
        return self._runner.run(self._jobs.detect_language(file, language=language))

    def live(self, chunks: Iterable[bytes], **options: Any) -> Iterator[Event]:
        """Send the audio of `chunks` (16 kHz mono s16le) and yield events as they arrive, up to `closed`.

        `chunks` is iterated in another thread and may block, for example on a microphone. `options` are those
        of `connect`. Raises `ClientError`, and exceptions of `chunks`.
        """
        return threaded.live(self._socket_url, chunks, api_key=self._api_key, **options)

    def submit(
        self,
        file: str | os.PathLike[str],
        *,
        idempotency_key: str | None = None,
        sent: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Document:
        """Upload a file; returns the job. `sent` is called with the number of bytes uploaded so far."""
        return self._runner.run(
            self._jobs.submit(file, idempotency_key=idempotency_key, sent=sent, **options)
        )

    def events(self, job_id: str, *, after: int = 0) -> Iterator[Document]:
        """Yield a job's events after number `after`, up to the last one."""
        return self._each(self._jobs.events(job_id, after=after))

    def _each(self, items: AsyncIterator[T]) -> Iterator[T]:
        async def following() -> T | None:
            return await anext(items, None)

        while (item := self._runner.run(following())) is not None:
            yield item

    def wait(self, job_id: str) -> Document:
        """Wait until a job is completed; returns it with its result.

        Raises `ClientError` if it failed or was cancelled.
        """
        return self._runner.run(self._jobs.wait(job_id))

    def result(self, job_id: str, form: str = "text") -> str:
        """A completed job's result as `json`, `text`, `srt`, `vtt`, `ass`, `karaoke`, `tsv` or `csv`."""
        return self._runner.run(self._jobs.result(job_id, form))

    def written(self, job_id: str, form: str) -> bytes:
        """A completed job's result as a file in a format of `result`, or as `docx`."""
        return self._runner.run(self._jobs.written(job_id, form))

    def job(self, job_id: str) -> Document:
        """A job, with its result if it is completed."""
        return self._runner.run(self._jobs.job(job_id))

    def list(self, *, limit: int = 20, before: str | None = None) -> list[Document]:
        """The newest jobs of the key's owner."""
        return self._runner.run(self._jobs.list(limit=limit, before=before))

    def cancel(self, job_id: str) -> Document:
        """Cancel a job or the task of an analysis, or delete one that has ended."""
        return self._runner.run(self._jobs.cancel(job_id))

    def analyze(self, file: str | os.PathLike[str], **options: Any) -> Iterator[TaskUpdate]:
        """Transcribe and analyse a file; yields the updates. `options`: those of `AnalysisClient.analyze`."""
        return self._each(self._analyses.analyze(file, **options))

    def task(self, task_id: str) -> Document:
        """A task of `analyze`, with its result if it is completed."""
        return self._runner.run(self._analyses.task(task_id))

    def updates(self, task_id: str, *, after: int = 0) -> Iterator[TaskUpdate]:
        """Yield a task's updates after number `after`, up to the last one."""
        return self._each(self._analyses.updates(task_id, after=after))

    def digest(self, session_id: str) -> Document:
        """See `AnalysisClient.digest`."""
        return self._runner.run(self._analyses.digest(session_id))

    def rename(
        self, speaker: str, name: str | None, *, session: str | None = None, job: str | None = None
    ) -> Names:
        """See `SpeakersClient.rename`."""
        return self._runner.run(self._speakers.rename(speaker, name, session=session, job=job))
