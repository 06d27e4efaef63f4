"""Admission control: which pools of transcribers can do what is requested, and for how many sessions."""

import re
from collections.abc import Sequence
from typing import Any, Final

from api_gateway.coalesced import CoalescedRead
from parlando.domain.formats import AudioFormat
from parlando.domain.pools import Pool, capable, choose, languages_of, pools_of
from parlando.errors import AtCapacityError, InvalidRequestError
from parlando.store.history import History
from parlando.store.pools import Place

LANGUAGE: Final = re.compile(r"^[a-z]{2,3}(-[A-Za-z0-9]+)*$")
FRESH_S: Final = 0.5  # how long the lists of workers and of pools are cached
READ_TIMEOUT_S: Final = 1.0  # for reading them from Redis
REDIS_WAIT_S: Final = 8.0  # how long a client that opens a session waits for an unreachable Redis
RETRY_S: Final = 0.2  # between two reads while it waits
TRANSCRIBE: Final = "transcribe"


class Admission:
    """Checks requests against the workers' heartbeats, which it reads at most once per `FRESH_S`."""

    def __init__(self, history: History) -> None:
        self._workers = CoalescedRead(history.workers, fresh_s=FRESH_S, within_s=READ_TIMEOUT_S)
        self._known = CoalescedRead(history.pools, fresh_s=FRESH_S, within_s=READ_TIMEOUT_S)

    async def workers_now(self) -> list[dict[str, Any]]:
        """The heartbeats of all workers that are alive. Raises `UnavailableError` within `READ_TIMEOUT_S`."""
        return await self._workers.get()

    async def workers(self) -> list[dict[str, Any]]:
        """The same, retried for `REDIS_WAIT_S` while Redis is unreachable. Raises `UnavailableError`."""
        return await self._workers.get_retrying(within_s=REDIS_WAIT_S, pause_s=RETRY_S)

    async def known_now(self) -> list[Pool]:
        """As `known`. Raises `UnavailableError` within `READ_TIMEOUT_S`."""
        return [Pool.of([entry]) for entry in await self._known.get()]

    async def known(self) -> list[Pool]:
        """The pools that had a transcriber in the last week. `capacity` is 0: it is unknown."""
        entries = await self._known.get_retrying(within_s=REDIS_WAIT_S, pause_s=RETRY_S)
        return [Pool.of([entry]) for entry in entries]

    async def transcribers(self) -> list[dict[str, Any]]:
        """The heartbeats of the transcribers that are alive."""
        return [worker for worker in await self.workers() if worker["kind"] == "transcriber"]

    async def pools(self) -> list[Pool]:
        """The pools that have a transcriber now."""
        return pools_of(await self.workers())

    # --- a new session or job ---------------------------------------------------------------------

    async def choose(
        self, languages: Sequence[str], task: str = TRANSCRIBE, stages: Sequence[str] = ()
    ) -> list[Pool]:
        """The pools that can do the work now, the preferred one first. See `domain.pools.choose`.

        Raises
        ------
        InvalidRequestError
            if no pool can do it.
        AtCapacityError
            if no transcriber is alive.

        """
        return choose(await self.workers(), languages, task, stages)

    async def places(
        self, form: AudioFormat, languages: Sequence[str], task: str = TRANSCRIBE, stages: Sequence[str] = ()
    ) -> list[Place]:
        """The pools that can take a live session, each with its capacity. Raises as `choose`.

        Raises `AtCapacityError` too if the format needs an audio-processor and none is running.
        """
        pools = await self.choose(languages, task, stages)
        await self.check_format(form)
        return [Place(pool.name, pool.capacity) for pool in pools]

    async def patient_pools(
        self, languages: Sequence[str], task: str = TRANSCRIBE, stages: Sequence[str] = ()
    ) -> list[Pool]:
        """As `choose`, for work that may wait: without a live transcriber, among the pools of the last week.

        Raises
        ------
        InvalidRequestError
            if no pool can do it.
        AtCapacityError
            if no transcriber was alive in the last week.

        """
        pools = await self.pools() or await self.known()
        if not pools:
            raise AtCapacityError("No transcriber has run yet; start one, or try again in a few seconds")
        return capable(pools, languages, task, stages)

    async def patient_places(self, languages: Sequence[str], *, waiting: int) -> list[Place]:
        """The places of a session that may wait: the preferred pool takes `waiting` more than its capacity.

        Raises as `patient_pools`.
        """
        pools = await self.patient_pools(languages)
        full = [Place(pool.name, pool.capacity) for pool in pools]
        return [*full, Place(pools[0].name, pools[0].capacity + waiting)]

    async def language_or_none(self, language: str | None) -> str | None:
        """`language` if it is a language code that an engine supports, else None.

        For clients that send a fixed language whatever is spoken, such as phones and media players.
        """
        if not language or not LANGUAGE.fullmatch(language):
            return None
        pools = await self.pools()
        return language if not pools or any(pool.speaks([language]) for pool in pools) else None

    async def check_format(self, form: AudioFormat) -> None:
        """Check that an audio-processor is running if the format needs one. Raises `AtCapacityError`."""
        if not form.direct and not any(worker["kind"] == "processor" for worker in await self.workers()):
            raise AtCapacityError(
                "No audio-processor is running, but this format needs one; start one, try again in a few "
                "seconds, or send 16 kHz mono pcm_s16le"
            )

    # --- a session that has a pool ----------------------------------------------------------------

    async def pool(self, name: str) -> Pool | None:
        """A pool with the live transcribers that it has, if any; None if it is unknown."""
        pools = {pool.name: pool for pool in [*await self.known(), *await self.pools()]}
        return pools.get(name)

    async def check_change(self, name: str, language: str | None, stages: Sequence[str]) -> None:
        """Refuse a language or stages that a session's pool can't do: a session stays in its pool.

        Raises
        ------
        InvalidRequestError

        """
        pool = await self.pool(name)
        if pool is None:
            return
        if not pool.speaks(languages_of(language)):
            names = ", ".join(sorted(pool.languages))
            raise InvalidRequestError(
                f"Expected a language that the session's engine supports ({names}), but got {language}; "
                "open a new session for it"
            )
        if missing := set(stages) - pool.stages:
            known = ", ".join(sorted(pool.stages)) or "none"
            raise InvalidRequestError(
                f"Expected stages that every transcriber of pool {name} has ({known}), but got "
                f"{', '.join(sorted(missing))}"
            )
