"""Admission control: which pools of transcribers can do what is requested, and for how many sessions."""

from collections.abc import Sequence
from typing import Any, Final

from pydantic import ValidationError

from api_gateway.coalesced import CoalescedRead
from parlando.domain.config import SessionConfig
from parlando.domain.decode_options import DecodeOptions
from parlando.domain.formats import AudioFormat
from parlando.domain.pools import UNASSIGNED, NoPoolError, Pool, capable, choose, pools_of
from parlando.errors import AtCapacityError, InvalidRequestError
from parlando.store.history import History
from parlando.store.pools import Place

FRESH_S: Final = 0.5  # how long the lists of workers and of pools are cached
READ_TIMEOUT_S: Final = 1.0  # for reading them from Redis
REDIS_WAIT_S: Final = 8.0  # how long a client that opens a session waits for an unreachable Redis
RETRY_S: Final = 0.2  # between two reads while it waits
RESTART_S: Final = 60.0  # how long after its last heartbeat a pool may be in a restart
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

    async def restarting(self) -> list[Pool]:
        """The pools without a transcriber that had one in the last `RESTART_S`."""
        entries = await self._known.get_retrying(within_s=REDIS_WAIT_S, pause_s=RETRY_S)
        running = {pool.name for pool in await self.pools()}
        return [
            Pool.of([entry])
            for entry in entries
            if entry["idle_s"] < RESTART_S and entry["pool"] not in running
        ]

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
            if no transcriber is alive, or those of a pool that can do it are restarting.

        """
        try:
            return choose(await self.workers(), languages, task, stages)
        except NoPoolError:
            await self.check_restarting(languages, task, stages)
            raise

    async def check_restarting(
        self, languages: Sequence[str], task: str = TRANSCRIBE, stages: Sequence[str] = ()
    ) -> None:
        """Check that no pool that could do the work is `restarting`. Raises `AtCapacityError`."""
        if pools := await self._restarting(languages, task, stages):
            raise AtCapacityError(
                f"No transcriber of the pool {pools[0].name}, which can do it, is running; start one, or try "
                "again in a few seconds"
            )

    async def _restarting(self, languages: Sequence[str], task: str, stages: Sequence[str]) -> list[Pool]:
        try:
            return capable(await self.restarting(), languages, task, stages)
        except NoPoolError:
            return []

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
    ) -> list[str]:
        """The names of the pools in which work may wait, the preferred one first.

        As `choose`, but if no running pool can do it, among those that are `restarting`; without a live
        transcriber, among the pools of the last week. If there are none, `UNASSIGNED`: the work gets a pool
        when one runs that can do it.

        Raises
        ------
        InvalidRequestError
            if no pool can do it.

        """
        return [pool.name for pool in await self._patient(languages, task, stages)] or [UNASSIGNED]

    async def _patient(self, languages: Sequence[str], task: str, stages: Sequence[str]) -> list[Pool]:
        pools = await self.pools() or await self.known()
        try:
            return capable(pools, languages, task, stages) if pools else []
        except NoPoolError:
            if found := await self._restarting(languages, task, stages):
                return found
            raise

    async def patient_places(
        self, languages: Sequence[str], task: str = TRANSCRIBE, *, waiting: int
    ) -> list[Place]:
        """The places of a session that may wait: the preferred pool takes `waiting` more than its capacity.

        Raises as `patient_pools`.
        """
        pools = await self._patient(languages, task, ())
        if not pools:
            return [Place(UNASSIGNED, waiting)]
        full = [Place(pool.name, pool.capacity) for pool in pools]
        return [*full, Place(pools[0].name, pools[0].capacity + waiting)]

    async def language_or_none(self, language: str | None) -> str | None:
        """The languages of a choice that one engine supports, as many as possible; None if there are none.

        The engines are those of the pools that run or are `restarting`; without any, of the last week.
        For clients that send a fixed language whatever is spoken, such as phones and media players.
        """
        try:
            choice = DecodeOptions(language=language).languages
        except ValidationError:
            return None
        pools = [*await self.pools(), *await self.restarting()] or await self.known() if choice else []
        spoken = [[code for code in choice if pool.speaks([code])] for pool in pools]
        most = max(spoken, key=lambda codes: len(codes), default=choice)
        return ",".join(most) or None

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

    async def check_change(self, name: str, config: SessionConfig) -> None:
        """Refuse languages, a task or stages that a session's pool can't do: a session stays in its pool.

        Raises
        ------
        InvalidRequestError

        """
        pool = await self.pool(name)
        if pool is None:
            return
        if not pool.speaks(config.languages):
            names = ", ".join(sorted(pool.languages))
            raise InvalidRequestError(
                f"Expected a language that the session's engine supports ({names}), but got "
                f"{config.language}; open a new session for it"
            )
        if config.required_task not in pool.tasks:
            raise InvalidRequestError(
                f"The session's engine can't {config.required_task}; open a new session for it"
            )
        if missing := set(config.stage_names) - pool.stages:
            known = ", ".join(sorted(pool.stages)) or "none"
            raise InvalidRequestError(
                f"Expected stages that every transcriber of pool {name} has ({known}), but got "
                f"{', '.join(sorted(missing))}"
            )
