"""Annotations of sessions and jobs, written by followers and read by clients."""

from collections.abc import AsyncIterator
from typing import Any, Final

import orjson

from parlando.domain.annotations import Annotation
from parlando.errors import ConflictError, FencedError, JobNotFoundError, SessionNotFoundError
from parlando.store.connection import Redis, Scripts, retried
from parlando.store.keys import AnnotationKeys, JobKeys, SessionKeys, feed
from parlando.store.usage import NOTHING, Spent
from parlando.store.usage_keys import day, usage

MAX_ANNOTATIONS: Final = 10_000
"""Maximum annotations of one session or job."""
MAX_NAMES: Final = 100
"""Maximum names of speakers of one session or job."""
MAX_NAME_CHANGES: Final = 1_000
"""How often the speakers of one session or job can be renamed."""
SPEAKER_NAME: Final = "speaker_name"
"""Kind of the annotation of a speaker's name: `speaker` is the label, `name` is None if it was taken away."""
PAGE: Final = 500
FENCED: Final = -2  # answer of the script if the condition is not met


class Annotations:
    """Annotations in a keyspace with `partitions`. Every call raises `UnavailableError`."""

    def __init__(self, redis: Redis, *, partitions: int) -> None:
        self._redis = redis
        self._scripts = Scripts(redis)
        self._partitions = partitions

    def of_session(self, sid: str) -> AnnotationKeys:
        """The annotation keys of a session."""
        return SessionKeys.of(sid, self._partitions).annotations

    def of_job(self, job: str) -> AnnotationKeys:
        """The annotation keys of a job."""
        return JobKeys.of(job, self._partitions).annotations

    async def add(
        self,
        keys: AnnotationKeys,
        *,
        name: str,
        kind: str,
        by: str,
        data: dict[str, Any],
        fence: tuple[str, int] | None = None,
        announced: bool = False,
        spent: Spent = NOTHING,
    ) -> int:
        """Add an annotation; returns its number. Idempotent for the same `name`.

        `fence`: field of the session's hash and the value that it must have, such as an owner's epoch.
        `announced`: whether the feed has an entry for it, for deliveries and followers.
        `spent`: what a language model has used for it; counted if this call adds the annotation.

        Raises
        ------
        SessionNotFoundError, JobNotFoundError
            if the session or job was deleted or has expired.
        ConflictError
            if it has `MAX_ANNOTATIONS` annotations.
        FencedError
            if the field of `fence` has another value.

        """
        annotation = Annotation(session_id=keys.id, kind=kind, by=by, data=data)
        number = int(
            await self._scripts.run(
                "annotate",
                [
                    keys.subject,
                    keys.stream,
                    keys.names,
                    keys.channel,
                    feed(keys.partition),
                    usage(keys.partition, day()),
                ],
                [
                    f"{by}:{name}",
                    *_without_number(annotation),
                    MAX_ANNOTATIONS,
                    *(fence or ("", "")),
                    int(announced),
                    *spent.arguments,
                ],
            )
        )
        if number == 0:
            raise _missing(keys)
        if number == FENCED:
            raise FencedError(f"Another worker owns this part of {keys.id}")
        if number < 0:
            raise _too_many(keys)
        return number

    async def name_speaker(self, keys: AnnotationKeys, speaker: str, name: str | None) -> dict[str, str]:
        """Give the speaker with the label `speaker` a name, or take it away (None). Returns label → name.

        A change is published as an annotation of the kind `SPEAKER_NAME`.

        Raises
        ------
        SessionNotFoundError, JobNotFoundError
            if the session or job was deleted or has expired.
        ConflictError
            if it has `MAX_NAMES` names or `MAX_ANNOTATIONS` annotations, or was changed `MAX_NAME_CHANGES`
            times.

        """
        data = {"speaker": speaker, "name": name}
        annotation = Annotation(session_id=keys.id, kind=SPEAKER_NAME, by="owner", data=data)
        answer: bytes = await self._scripts.run(
            "name_speaker",
            [keys.subject, keys.stream, keys.channel],
            [
                speaker,
                name or "",
                MAX_NAMES,
                MAX_NAME_CHANGES,
                *_without_number(annotation),
                MAX_ANNOTATIONS,
            ],
        )
        match answer:
            case b"":
                raise _missing(keys)
            case b"names":
                raise ConflictError(f"{keys.id} has names for {MAX_NAMES} speakers, which is the maximum")
            case b"changes":
                raise ConflictError(
                    f"The speakers of {keys.id} were renamed {MAX_NAME_CHANGES} times, which is the maximum"
                )
            case b"annotations":
                raise _too_many(keys)
        names: dict[str, str] = orjson.loads(answer)
        return names

    async def page(self, keys: AnnotationKeys, *, after: int, count: int = PAGE) -> list[bytes]:
        """Up to `count` annotations after number `after`, in order, each as JSON."""
        stream = keys.stream
        entries: Any = await retried(lambda: self._redis.xrange(stream, min=f"({after}-0", count=count))
        return [fields[b"a"] for _, fields in entries]

    async def dumped(self, keys: AnnotationKeys) -> list[dict[str, Any]]:
        """All annotations in order, in the form of the transcript API."""
        return [each.model_dump(exclude={"type", "session_id"}) async for each in self.all(keys)]

    async def all(self, keys: AnnotationKeys, *, after: int = 0) -> AsyncIterator[Annotation]:
        """Yield all annotations after number `after`, in order."""
        while page := await self.page(keys, after=after):
            for encoded in page:
                annotation = Annotation.model_validate_json(encoded)
                after = annotation.number
                yield annotation


def _without_number(annotation: Annotation) -> tuple[str, str]:
    """The JSON of an annotation up to its number, and after its number and epoch, which a script adds."""
    rest = annotation.model_dump_json(exclude={"number", "epoch"}).removeprefix("{")
    return '{"number":', f",{rest}"


def _missing(keys: AnnotationKeys) -> SessionNotFoundError | JobNotFoundError:
    missing = JobNotFoundError if keys.subject.endswith(f":job:{keys.id}") else SessionNotFoundError
    return missing(f"{keys.id} does not exist; it may have expired")


def _too_many(keys: AnnotationKeys) -> ConflictError:
    return ConflictError(f"{keys.id} has {MAX_ANNOTATIONS} annotations, which is the maximum")
