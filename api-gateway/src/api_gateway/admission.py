"""Admission control: checks requests against the capacity and abilities of the workers that are alive."""

import re
from collections.abc import Sequence
from typing import Any, Final

from api_gateway.coalesced import CoalescedRead
from parlando.domain.formats import AudioFormat
from parlando.errors import AtCapacityError, InvalidRequestError
from parlando.store.history import History

LANGUAGE: Final = re.compile(r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")
FRESH_S: Final = 0.5  # how long the list of workers is cached
READ_TIMEOUT_S: Final = 1.0  # for reading it from Redis
REDIS_WAIT_S: Final = 8.0  # how long a client that opens a session waits for an unreachable Redis
RETRY_S: Final = 0.2  # between two reads while it waits


class Admission:
    """Checks requests against the workers' heartbeats, which it reads at most once per `FRESH_S`."""

    def __init__(self, history: History) -> None:
        self._workers = CoalescedRead(history.workers, fresh_s=FRESH_S, within_s=READ_TIMEOUT_S)

    async def workers_now(self) -> list[dict[str, Any]]:
        """The heartbeats of all workers that are alive. Raises `UnavailableError` within `READ_TIMEOUT_S`."""
        return await self._workers.get()

    async def workers(self) -> list[dict[str, Any]]:
        """The same, retried for `REDIS_WAIT_S` while Redis is unreachable. Raises `UnavailableError`."""
        return await self._workers.get_retrying(within_s=REDIS_WAIT_S, pause_s=RETRY_S)

    async def transcribers(self) -> list[dict[str, Any]]:
        """The heartbeats of the transcribers that are alive."""
        return [worker for worker in await self.workers() if worker["kind"] == "transcriber"]

    async def processors(self) -> list[dict[str, Any]]:
        """The heartbeats of the audio-processors that are alive."""
        return [worker for worker in await self.workers() if worker["kind"] == "processor"]

    async def check_language(self, language: str | None) -> None:
        """Refuse a language that no engine of the cluster supports. An engine that lists none supports all.

        Raises
        ------
        InvalidRequestError

        """
        known = [set(worker["languages"]) for worker in await self.transcribers()]
        if language and known and all(known) and language.split("-")[0] not in set.union(*known):
            names = ", ".join(sorted(set.union(*known)))
            raise InvalidRequestError(
                f"Expected a language that an engine of this cluster supports ({names}), but got {language}"
            )

    async def check_stages(self, names: Sequence[str]) -> None:
        """Refuse stages that not every transcriber has: any transcriber may claim the session.

        Raises
        ------
        InvalidRequestError

        """
        if not names:
            return
        for worker in await self.transcribers():
            if missing := set(names) - set(worker.get("stages", ())):
                known = ", ".join(worker.get("stages", ())) or "none"
                unknown = ", ".join(sorted(missing))
                raise InvalidRequestError(
                    f"Expected stages that every transcriber has ({known}), but got {unknown}"
                )

    async def check_task(self, task: str) -> None:
        """Refuse a task that not every engine supports: any transcriber may claim the work.

        Raises
        ------
        InvalidRequestError

        """
        for worker in await self.transcribers():
            if task not in worker["tasks"]:
                raise InvalidRequestError(
                    f"The engine {worker['engine']} {worker['model']} can't {task}; use a multilingual "
                    "Whisper model (WHISPER_MODEL)"
                )

    async def language_or_none(self, language: str | None) -> str | None:
        """`language` if it is a language code that an engine supports, else None.

        For clients that send a fixed language whatever is spoken, such as phones and media players.
        """
        if not language or not LANGUAGE.fullmatch(language):
            return None
        try:
            await self.check_language(language)
        except InvalidRequestError:
            return None
        return language

    async def capacity(self, form: AudioFormat) -> int:
        """The number of sessions that all transcribers together can take.

        Raises
        ------
        AtCapacityError
            if there is no transcriber, or no audio-processor for a format that needs one.

        """
        transcribers = await self.transcribers()
        if not transcribers:
            raise AtCapacityError("No transcriber is running; start one, or try again in a few seconds")
        if not form.direct and not await self.processors():
            raise AtCapacityError(
                "No audio-processor is running, but this format needs one; start one, try again in a few "
                "seconds, or send 16 kHz mono pcm_s16le"
            )
        return sum(int(worker["capacity"]) for worker in transcribers)
