"""Transcription of recorded files as jobs, over a gateway's REST API.

async with JobsClient("http://127.0.0.1:8000") as jobs:
    result = await jobs.transcribe("talk.m4a", words=True)
    print(result["text"])
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any, BinaryIO, Final, cast

import httpx

from parlando.client.http import Counted, RestClient, follow, opened
from parlando.client.session import ClientError

ENDS: Final = ("completed", "failed", "cancelled")

Document = dict[str, Any]


class JobsClient(RestClient):
    """A client of one gateway; see `RestClient`.

    `options` of a job (docs/protocols.md): language, task, translations, prompt, hotwords, words, channels,
    track, callback_url, priority, analyze, target_language.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=120)
        self._jobs = f"{self._url}/v1/stt/jobs"

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self._send(method, f"/v1/stt/jobs{path}", **more)

    async def submit(
        self,
        file: str | os.PathLike[str],
        *,
        idempotency_key: str | None = None,
        sent: Callable[[int], None] | None = None,
        **options: Any,
    ) -> Document:
        """Upload a file; returns the job. `sent` is called with the number of bytes uploaded so far."""
        path, uploaded = opened(file)
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        fields = {name: _field(value) for name, value in options.items() if value is not None}
        with uploaded:
            counted = cast(BinaryIO, Counted(uploaded, sent)) if sent else uploaded
            files = {"file": (path.name, counted)}
            answer = await self._ask("POST", "", files=files, data=fields, headers=headers)
        return cast(Document, answer.json())

    async def events(self, job_id: str, *, after: int = 0) -> AsyncIterator[Document]:
        """Yield a job's events after number `after`, up to the last one; reconnects."""
        async with aclosing(follow(self._client, f"{self._jobs}/{job_id}/events", after=after)) as events:
            async for event in events:
                yield event
                if event["type"] in ENDS:
                    return

    async def wait(self, job_id: str) -> Document:
        """Wait until a job is completed; returns it with its result.

        Raises `ClientError` if it failed or was cancelled.
        """
        async for event in self.events(job_id):
            if event["type"] in ("failed", "cancelled"):
                error = event.get("error", {"code": "cancelled", "message": "The job was cancelled"})
                raise ClientError(error["code"], error["message"])
        return await self.job(job_id)

    async def transcribe(self, file: str | os.PathLike[str], **options: Any) -> Document:
        """Transcribe a file; returns the result. The job is cancelled if the caller is."""
        submitted = await self.submit(file, **options)
        try:
            return cast(Document, (await self.wait(submitted["job_id"]))["result"])
        except asyncio.CancelledError:
            await self.cancel(submitted["job_id"])
            raise

    async def result(
        self, job_id: str, form: str = "text", *, annotations: bool = False, **rules: str
    ) -> str:
        """A completed job's result as `json`, `text`, `srt`, `vtt`, `ass`, `karaoke` (VTT) or `tsv`.

        `annotations`: with annotations, such as results of `analyze` (json only). `rules`: of subtitles:
        `max_line_chars`, `max_lines`, `max_cue_s`.
        """
        params = {"format": form, **rules} | ({"annotations": "true"} if annotations else {})
        return (await self._ask("GET", f"/{job_id}/result", params=params)).text

    async def detect_language(self, file: str | os.PathLike[str], *, language: str | None = None) -> Document:
        """The language of a file: `detected_language`, `language_code` and `confidence`.

        `language`: codes separated by commas, among which it is detected; None for any.
        """
        path, uploaded = opened(file)
        data = {"language": language} if language else {}
        with uploaded:
            answer = await self._send(
                "POST", "/v1/detect-language", files={"file": (path.name, uploaded)}, data=data
            )
        return cast(Document, answer.json())

    async def job(self, job_id: str) -> Document:
        """A job, with its result if it is completed."""
        return cast(Document, (await self._ask("GET", f"/{job_id}")).json())

    async def list(self, *, limit: int = 20, before: str | None = None) -> list[Document]:
        """The newest jobs of this key."""
        params = {"limit": limit} | ({} if before is None else {"before": before})
        return cast("list[Document]", (await self._ask("GET", "", params=params)).json()["jobs"])

    async def cancel(self, job_id: str) -> Document:
        """Cancel a job, or delete one that has ended."""
        return cast(Document, (await self._ask("DELETE", f"/{job_id}")).json())


def _field(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
