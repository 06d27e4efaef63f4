"""One case for each Lua script on limits, for the test of lost answers."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from parlando.domain.limits import Limits
from parlando.store.held import Held, Holder
from parlando.store.limit_keys import SESSIONS
from parlando.store.owner_limits import OwnerLimits
from parlando.store.pubsub import Channels
from support.song_cases import Stage

HOLDER: Final = Holder("o" * 64, "0123456789ab")


async def _limit_hold(stage: Stage) -> Any:
    held = Held(stage.redis, SESSIONS)
    await held.hold(HOLDER, "other", seconds=600, pending_ms=1000)
    stage.arm()
    first = await held.hold(HOLDER, "one", seconds=600, owner_limit=2, pending_ms=500)
    return first, await held.hold(HOLDER, "another", seconds=600, owner_limit=2)


async def _limit_release(stage: Stage) -> Any:
    held = Held(stage.redis, SESSIONS)
    for name in ("one", "other"):
        await held.hold(HOLDER, name, seconds=600, pending_ms=1000)
    stage.arm()
    await held.release(HOLDER, ["one"])
    return sorted(await held.held(HOLDER))


async def _owner_limits(stage: Stage) -> Any:
    limits = OwnerLimits(stage.redis, Channels(stage.redis))
    stage.arm()
    await limits.put("o" * 16, Limits(sessions=3))
    return await limits.all()


CASES: Final[dict[str, Callable[[Any], Awaitable[Any]]]] = {
    "limit_hold": _limit_hold,
    "limit_release": _limit_release,
    "owner_limits": _owner_limits,
}
