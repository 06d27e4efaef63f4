"""The audio of running sessions that isn't in the usage yet, summed up in Redis."""

import random

from parlando.store import limit_keys
from parlando.store.held import Held, Holder
from parlando.store.limit_keys import SESSIONS

OWNER = "a" * 64


async def test_audio_that_is_not_in_the_usage_yet_is_summed_up_of_what_is_held(redis):
    held, chance = Held(redis, SESSIONS), random.Random(5)
    known: dict[str, tuple[Holder, int]] = {}
    for _ in range(300):
        holder, sid = Holder(OWNER, chance.choice("ab")), f"s{chance.randrange(9)}"
        action = chance.randrange(4)
        if action == 0:
            await held.release(known.pop(sid, (holder, 0))[0], [sid])
        elif action == 1 and sid in known:  # its gateway was killed, and its time is over
            await redis.zadd(limit_keys.held(OWNER, SESSIONS), {sid: 1})
            known.pop(sid)
        else:
            known[sid] = (known.get(sid, (holder, 0))[0], chance.choice([0, 1000, 2500]))
            await held.hold(known[sid][0], sid, seconds=600, pending_ms=known[sid][1])
        count = await held.hold(Holder(OWNER, "a"), "last", seconds=600)
        assert count.owner_ms == sum(ms for _, ms in known.values())
        assert count.key_ms == sum(ms for of, ms in known.values() if of.key_id == "a")
    name = limit_keys.running(OWNER)
    assert 0 < await redis.ttl(name) <= await redis.ttl(limit_keys.held(OWNER, SESSIONS))
    await held.release(Holder(OWNER), [*known])
    assert not await redis.exists(name)
