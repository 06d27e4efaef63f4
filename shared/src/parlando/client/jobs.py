"""Transcription of recorded files as jobs, over a gateway's REST API.

async with JobsClient("http://127.0.0.1:8000") as jobs:
    result = await jobs.transcribe("talk.m4a", words=True)
    print(result["text"])
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import httpx

from parlando.client.http import LONGEST_WAIT_S, TRIES, Counted, RestClient, follow, opened
from parlando.client.session import ClientError
from parlando.client.upload_journal import UploadJournal
from parlando.client.uploads import RESUMABLE_FROM, ResumableUpload

ENDS: Final = ("completed", "failed", "cancelled")

Document = dict[str, Any]


class JobsClient(RestClient):
    """A client of one gateway; see `RestClient`.

    `options` of a job (docs/protocols.md): language, task, translations, prompt, hotwords, words, channels,
    track, callback_url, priority, analyze, target_language.

    `uploads`: folder in which unfinished uploads of large files are noted, so that a later run of the program
    continues them; None to begin anew.
    """

    def __init__(
        self,
        url: str = "http://127.0.0.1:8000",
        *,
        api_key: str | None = None,
        uploads: Path | None = None,
    ) -> None:
        super().__init__(url, api_key=api_key, read_s=120)
        self._journal = UploadJournal(uploads, url=self._url, api_key=api_key) if uploads else None
        self._jobs = f"{self._url}/v1/stt/jobs"

    async def _ask(self, method: str, path: str, **more: Any) -> httpx.Response:
        return await self._send(method, f"/v1/stt/jobs{path}", **more)

    async def submit(
        self,
        file: str | os.PathLike[str],
        *,
        idempotency_key: str | None = None,
        sent: Callable[[int], None] | None = None,
        resumable_from: int | None = RESUMABLE_FROM,
        **options: Any,
    ) -> Document:
        """Upload a file; returns the job. `sent` is called with the number of bytes uploaded so far.

        Files of at least `resumable_from` bytes are uploaded resumably: after a lost connection the upload
        continues where it was. None for no file.
        """
        path, uploaded = opened(file)
        headers = {"Idempotency-Key": idempotency_key} if idempotency_key else {}
        fields = {name: _field(value) for name, value in options.items() if value is not None}
        with uploaded:
            if resumable_from is not None and os.fstat(uploaded.fileno()).st_size >= max(1, resumable_from):
                upload = ResumableUpload(
                    self._client, self._url, path, uploaded, sent=sent, journal=self._journal
                )
                given = {name: value for name, value in fields.items() if value}
                return await self._of_file(upload, given, headers)
            counted = cast(BinaryIO, Counted(uploaded, sent)) if sent else uploaded
            files = {"file": (path.name, counted)}
            answer = await self._ask("POST", "", files=files, data=fields, headers=headers)
        return cast(Document, answer.json())

    async def _of_file(
        self, upload: ResumableUpload, options: dict[str, str], headers: dict[str, str]
    ) -> Document:
        """Upload a file and submit its job; once more if an earlier run's upload can't be used any more."""
        while True:
            name, continued = await upload.run(), upload.continued
            try:
                job = await self._of_upload({"upload": name, **options}, headers)
            except ClientError as error:
                used = error.code == "conflict" and not headers  # by a job with other options
                if error.code != "upload_not_found" and not used:
                    raise
                upload.finished()
                if not continued:
                    raise
            else:
                upload.finished()
                return job

    async def _of_upload(self, body: dict[str, str], headers: dict[str, str]) -> Document:
        """Submit the job of an upload. The call may be repeated: a repeat returns the same job."""
        failures = 0
        while True:
            try:
                return cast(Document, (await self._ask("POST", "", json=body, headers=headers)).json())
            except ClientError as error:
                failures += 1
                if error.code not in ("unreachable", "unavailable") or failures >= TRIES:
                    raise
            await asyncio.sleep(LONGEST_WAIT_S)

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
        """A completed job's result as `json`, `text`, `srt`, `vtt`, `ass`, `karaoke` (VTT), `tsv` or `csv`.

        `annotations`: with annotations, such as results of `analyze` (json only). `rules`: of subtitles:
        `max_line_chars`, `max_lines`, `max_cue_s`.
        """
        return (await self.written(job_id, form, annotations=annotations, **rules)).decode()

    async def written(self, job_id: str, form: str, *, annotations: bool = False, **rules: str) -> bytes:
        """A completed job's result as a file in a format of `result`, or as `docx`."""
        params = {"format": form, **rules} | ({"annotations": "true"} if annotations else {})
        return (await self._ask("GET", f"/{job_id}/result", params=params)).content

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
        """The newest jobs of the key's owner."""
        params = {"limit": limit} | ({} if before is None else {"before": before})
        return cast("list[Document]", (await self._ask("GET", "", params=params)).json()["jobs"])

    async def cancel(self, job_id: str) -> Document:
        """Cancel a job, or delete one that has ended."""
        return cast(Document, (await self._ask("DELETE", f"/{job_id}")).json())


def _field(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
