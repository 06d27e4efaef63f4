"""Exports everything of an owner as a zip archive; docs/security.md describes its layout."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from api_gateway.deliveries.archive import explained
from api_gateway.deliveries.archive_paths import segment
from api_gateway.owners.parts import Parts
from api_gateway.owners.zip_stream import ZipStream
from api_gateway.presenters.job import document_of as job_document
from api_gateway.presenters.session import document_of as session_document
from api_gateway.presenters.session import iso
from api_gateway.presenters.usage import amounts
from parlando.domain.job_options import JobStatus
from parlando.errors import JobNotFoundError, SessionNotFoundError
from parlando.store.usage import MAX_DAYS
from parlando.store.usage_keys import today

FORMAT: Final = 1
"""Version of the layout; it changes if a reader of the one before could fail."""
LAYOUT: Final = """\
Everything that this Parlando cluster held of one owner.

owner.json            the owner, the time of this export, the version of this layout
sessions/<id>.json    a live session: its segments with times and speakers, its annotations
sessions/<id>.txt     its text
users/<uid>/<id>.json, .txt   the same for a session of a user (Omi), also from the archive
jobs/<id>.json        a recorded file: state, options, result, annotations
jobs/<id>.txt         its text, if it is completed
speakers.json         names of known speakers, without the voices
usage.json            what was used on each day: seconds of audio, sessions, jobs, tokens
manifest.json         the last file: numbers of the files; without it the export is incomplete

Characters of ids that file systems don't take are written as =XX.
"""
Document = dict[str, Any]


class Export:
    """Makes the archive of an owner."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def run(self, owner: str, name: str) -> AsyncGenerator[bytes]:
        """The bytes of the archive. `owner`: 16 digits, "" without keys; `name`: for display.

        Raises
        ------
        UnavailableError
            in the middle too: the archive then has no end.

        """
        out, counts = ZipStream(), Counter[str]()
        about = {
            "format": FORMAT,
            "owner": owner or "none",
            "name": name,
            "exported_at": iso(round(datetime.now(UTC).timestamp() * 1000)),
        }
        yield await out.add("README.txt", LAYOUT.encode())
        yield await out.add("owner.json", _json(about))
        for kind, documents in (
            ("sessions", self._sessions(owner)),
            ("archived", self._archived(owner)),
            ("jobs", self._jobs(owner)),
        ):
            async for path, document, text in documents:
                if f"{path}.json" in out.names:  # Redis named it twice, or the archive has it too
                    continue
                counts[kind] += 1
                yield await out.add(f"{path}.json", _json(document))
                if text is not None:
                    yield await out.add(f"{path}.txt", f"{text}\n".encode("utf-8", "replace"))
        speakers = [
            {"name": each.name, "clips": len(each.clips), "created_at": iso(each.created_ms)}
            for each in await self._parts.known_speakers.all(owner)
        ]
        yield await out.add("speakers.json", _json({"speakers": speakers}))
        yield await out.add("usage.json", _json({"days": await self._usage(owner)}))
        counts["speakers"] = len(speakers)
        yield await out.add("manifest.json", _json({**about, "complete": True, "counts": dict(counts)}))
        yield out.end()

    async def _sessions(self, owner: str) -> AsyncIterator[tuple[str, Document, str | None]]:
        async for held in self._parts.data.sessions(owner):
            try:
                document = await session_document(self._parts.history, held.id)
                notes = await self._parts.annotations.dumped(self._parts.annotations.of_session(held.id))
            except SessionNotFoundError:  # it has expired meanwhile
                continue
            yield _path(document), {**_public(document), "annotations": notes}, document["text"]

    async def _archived(self, owner: str) -> AsyncIterator[tuple[str, Document, str | None]]:
        with explained():
            async for _, document in self._parts.archive.owned(owner):
                yield _path(document), _public(document), document["text"]

    async def _jobs(self, owner: str) -> AsyncIterator[tuple[str, Document, str | None]]:
        jobs, annotations = self._parts.jobs, self._parts.annotations
        async for held in self._parts.data.jobs(owner):
            try:
                record = await jobs.record(held.id)
                document = await job_document(jobs, record)
                notes = await annotations.dumped(annotations.of_job(held.id))
            except JobNotFoundError:  # it was deleted meanwhile
                continue
            for url in ("status_url", "events_url", "result_url"):
                document.pop(url)
            text = document["result"]["text"] if record.status is JobStatus.COMPLETED else None
            yield f"jobs/{held.id}", {**document, "annotations": notes}, text

    async def _usage(self, owner: str) -> list[Document]:
        last = today()
        found = await self._parts.usage.days(last - timedelta(days=MAX_DAYS - 1), last, owner=owner)
        return [
            {
                "day": each.day.isoformat(),
                **{name: value for name, value in amounts(each.used, 0).items() if not name.endswith("_usd")},
            }
            for each in found
        ]


def _path(document: Document) -> str:
    """The path of a session's files, without an ending."""
    sid = _name(document["session_id"])
    return f"users/{_name(document['uid'])}/{sid}" if document.get("uid") else f"sessions/{sid}"


def _name(name: str) -> str:
    return segment(name).replace(":", "=3A")  # Windows


def _public(document: Document) -> Document:
    return {name: value for name, value in document.items() if name not in ("owner", "started_ms")}


def _json(document: Document) -> bytes:
    return orjson.dumps(document, option=orjson.OPT_INDENT_2)
