"""Analyses over a gateway's REST API: a file is transcribed and analysed, and each step is reported.

async with AnalysisClient("http://127.0.0.1:8000") as analyses:
    async for update in analyses.analyze("meeting.m4a", insights=True):
        print(update.progress, update.message)
    print(update.partial_result["results"]["topics"])
"""

import os
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, BinaryIO, Final, cast

import httpx
from httpx_sse import EventSource, SSEError

from parlando.client.http import Counted, RestClient, follow, opened, refusal
from parlando.client.session import ClientError
from parlando.domain.analysis import TaskUpdate

Document = dict[str, Any]
ANSWERED_WITHIN_S: Final = 120
"""A stream sends something every 15 s; after such a silence the connection counts as broken."""


class AnalysisClient(RestClient):
    """Analyses of files, and digests of live sessions; see `RestClient`."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=ANSWERED_WITHIN_S)

    async def analyze(
        self,
        file: str | os.PathLike[str],
        *,
        language: str | None = None,
        translate_to: str | None = None,
        insights: bool = False,
        cancel_on_disconnect: bool = False,
        sent: Callable[[int], None] | None = None,
        begun: Callable[[str], None] | None = None,
    ) -> AsyncGenerator[TaskUpdate, None]:
        """Upload a file, and yield the updates of its task up to the last one (`update.ends`).

        The `partial_result` of the update `completed` has everything. After a broken connection the updates
        continue where they were; none is given twice. The task goes on if you stop iterating or are
        cancelled, unless you call `cancel`, or `cancel_on_disconnect` is set.

        `language`: as for jobs; None to detect it. `translate_to`: ISO 639 code of the language of a
        translation. `insights`: also findings by a language model, questions and action items. `sent` is
        called with the number of bytes uploaded so far, and `begun` with the task's id when it exists.

        Raises
        ------
        ClientError
            if the gateway refuses the file (`no_analyzer` if no analyzer is running), or is unreachable.

        """
        fields = {
            "include_insights": _flag(insights),
            "cancel_on_disconnect": _flag(cancel_on_disconnect),
            **({"language": language} if language else {}),
            **({"include_translation": "true", "target_language": translate_to} if translate_to else {}),
        }
        path, uploaded = opened(file)
        with uploaded:
            counted = cast(BinaryIO, Counted(uploaded, sent)) if sent else uploaded
            task, after = "", 0
            try:
                async with self._client.stream(
                    "POST",
                    f"{self._url}/audio/process-stream-realtime",
                    files={"audio": (path.name, counted)},
                    data=fields,
                ) as answer:
                    if answer.is_error:
                        await answer.aread()
                        raise refusal(answer)
                    task = answer.headers["X-Task-ID"]
                    if begun is not None:
                        begun(task)
                    async for event in EventSource(answer).aiter_sse():
                        if event.data:  # none comes with `retry`
                            update = TaskUpdate.model_validate_json(event.data)
                            after = update.seq or after
                            yield update
                            if update.ends:
                                return
            except (httpx.HTTPError, SSEError) as error:
                if not task:
                    reason = f"No gateway answers at {self._url} ({error!r})"
                    raise ClientError("unreachable", reason) from error
        async with aclosing(self.updates(task, after=after)) as updates:
            async for update in updates:
                yield update

    async def updates(self, task_id: str, *, after: int = 0) -> AsyncGenerator[TaskUpdate, None]:
        """Yield a task's updates after number `after`, up to the last one; reconnects.

        Updates with partial results have no number and aren't kept: only those that are sent from now on
        are given.
        """
        async with aclosing(self._followed(task_id, after)) as updates:
            async for update in updates:
                if update.seq is not None and update.seq <= after and not update.ends:
                    continue  # sent again because Redis had lost it
                after = max(after, update.seq or 0)
                yield update
                if update.ends:
                    return

    async def _followed(self, task_id: str, after: int) -> AsyncGenerator[TaskUpdate, None]:
        url = f"{self._url}/audio/tasks/{task_id}/events"
        async with aclosing(follow(self._client, url, after=after)) as events:
            async for event in events:
                yield TaskUpdate.model_validate(event)

    async def task(self, task_id: str) -> Document:
        """A task: its status, its last update, and its result if it is completed."""
        return await self._ask("GET", f"/audio/tasks/{task_id}")

    async def cancel(self, task_id: str) -> Document:
        """Cancel a task, or delete one that has ended, with its transcript and results."""
        return await self._ask("DELETE", f"/audio/tasks/{task_id}")

    async def digest(self, session_id: str) -> Document:
        """What a live session contains so far: topics, key sentences, entities, questions, actions, ..."""
        return await self._ask("POST", f"/v1/stt/sessions/{session_id}/digest")

    async def _ask(self, method: str, path: str) -> Document:
        return cast(Document, (await self._send(method, path)).json())


def _flag(value: bool) -> str:
    return str(value).lower()
