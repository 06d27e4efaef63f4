"""Whether one more session fits: the workers' capacity against the sessions that are open."""

import re
from collections.abc import Sequence
from typing import Any, Final

from api_gateway.coalesced import CoalescedRead
from parlando.domain.formats import AudioFormat
from parlando.errors import AtCapacityError, InvalidRequestError
from parlando.store.history import History

LANGUAGE: Final = re.compile(r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")
FRESH_S: Final = 0.5  # how long a look at the workers is good for
LOOK_S: Final = 1.0  # how long it may take
PATIENCE_S: Final = 8.0  # how long a client that opens a session waits for Redis to come back …
PAUSE_S: Final = 0.2  # … with this between two looks


class Admission:
    """Looks at the workers' heartbeats, not more often than needed."""

    def __init__(self, history: History) -> None:
        self._workers = CoalescedRead(history.workers, fresh_s=FRESH_S, within_s=LOOK_S)

    async def workers_now(self) -> list[dict[str, Any]]:
        """The reports of all workers that live. Raises `UnavailableError` within `LOOK_S`."""
        return await self._workers.get()

    async def workers(self) -> list[dict[str, Any]]:
        """The same, waiting for a Redis that restarts or fails over. Raises `UnavailableError`."""
        return await self._workers.get_retrying(within_s=PATIENCE_S, pause_s=PAUSE_S)

    async def transcribers(self) -> list[dict[str, Any]]:
        """The reports of the transcribers that live."""
        return [worker for worker in await self.workers() if worker["kind"] == "transcriber"]

    async def processors(self) -> list[dict[str, Any]]:
        """The reports of the audio-processors that live."""
        return [worker for worker in await self.workers() if worker["kind"] == "processor"]

    async def check_language(self, language: str | None) -> None:
        """Refuse a language that no worker's engine knows; an engine that names none knows any.

        Raises
        ------
        InvalidRequestError

        """
        known = [set(worker["languages"]) for worker in await self.transcribers()]
        if language and known and all(known) and language.split("-")[0] not in set.union(*known):
            names = ", ".join(sorted(set.union(*known)))
            raise InvalidRequestError(
                f"Expected a language that this cluster's engine knows ({names}), but got {language}"
            )

    async def check_stages(self, names: Sequence[str]) -> None:
        """Refuse a stage that a transcriber of the cluster doesn't have, for any of them may get the session.

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
        """Refuse a task that an engine of the cluster can't do, for any of them may get it.

        Raises
        ------
        InvalidRequestError

        """
        for worker in await self.transcribers():
            if task not in worker["tasks"]:
                raise InvalidRequestError(
                    f"The engine {worker['engine']} {worker['model']} can't {task}; a multilingual Whisper "
                    "can (WHISPER_MODEL)"
                )

    async def language_or_none(self, language: str | None) -> str | None:
        """A language that phones and players ask for by habit: only if it's one and the engine knows it."""
        if not language or not LANGUAGE.fullmatch(language):
            return None
        try:
            await self.check_language(language)
        except InvalidRequestError:
            return None
        return language

    async def capacity(self, form: AudioFormat) -> int:
        """How many sessions the workers take together.

        Raises
        ------
        AtCapacityError
            if there's no transcriber at all, or no audio-processor for a format that needs one.

        """
        transcribers = await self.transcribers()
        if not transcribers:
            raise AtCapacityError("No transcriber is running; start one, or try again in a few seconds")
        if not form.direct and not await self.processors():
            raise AtCapacityError(
                "No audio-processor is running, which this format needs; start one, try again in a few "
                "seconds, or send 16 kHz mono pcm_s16le"
            )
        return sum(int(worker["capacity"]) for worker in transcribers)
