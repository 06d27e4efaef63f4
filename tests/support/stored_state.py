"""The contents of a Redis in a form that is equal after two runs of the same calls."""

import re
from typing import Any

from parlando.store.connection import Redis

_TIMES = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+Z"), "<time>"),
    (re.compile(r"(?<!\d)1[6-9]\d{11}-\d+"), "<entry>"),
    (re.compile(r"(?<!\d)1[6-9]\d{8}(\d{3})?(?!\d)"), "<time>"),
    (re.compile(r":\d{4}-\d\d(?!\d)"), ":<month>"),
    (re.compile(r"(b'minute', b')\d+"), r"\1<minute>"),
    (re.compile(r"(past_resume_window_s=)-?[\d.]+"), r"\1<seconds>"),
)


def without_times(value: Any) -> str:
    """A value as text, without times and without the entry ids that contain times."""
    text = repr(value)
    for pattern, mask in _TIMES:
        text = pattern.sub(mask, text)
    return text


async def stored_state(redis: Redis) -> list[str]:
    """One line for each key: its name, whether it has a time to live, and its value."""
    lines = []
    for key in await redis.keys():
        kind = (await redis.type(key)).decode()
        lifetime = "expires" if await redis.ttl(key) >= 0 else "stays"
        lines.append(without_times((key, lifetime, await _content(redis, kind, key))))
    return sorted(lines)


async def _content(redis: Redis, kind: str, key: bytes) -> Any:
    match kind:
        case "string":
            return await redis.get(key)
        case "hash":
            return sorted((await redis.hgetall(key)).items())
        case "list":
            return await redis.lrange(key, 0, -1)
        case "set":
            return sorted(await redis.smembers(key))
        case "zset":
            return await redis.zrange(key, 0, -1, withscores=True)
        case "stream":
            groups = await redis.xinfo_groups(key)
            pending = [await redis.xpending_range(key, g["name"], "-", "+", 100) for g in groups]
            return await redis.xrange(key), [
                [(entry["message_id"], entry["consumer"]) for entry in group] for group in pending
            ]
    raise AssertionError(kind)
