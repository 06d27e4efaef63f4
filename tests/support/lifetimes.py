"""The keys that may exist in Redis without a time to live; every other key must have one."""

import re
from typing import Final

import redis

STAYING: Final = {
    r"stt:\{\d+\}:(intake|jobs|songs|tasks)": (
        "queues with consumer groups: an entry is removed when its work is done, and the groups must stay"
    ),
    r"stt:\{\d+\}:feed": "bounded, holds names of sessions and jobs only, and its consumer groups must stay",
    r"stt:\{songs(:\d+)?\}:.*": "the index of songs, which lasts until its songs are removed",
    r"stt:\{\d+\}:known-speakers:.*": "voices of people, which last until their owner deletes them",
    r"stt:\{analysis\}:requests": "a queue with a consumer group: an entry is removed when it is processed",
    r"stt:\{owners\}:retention": "one field per time that was set for an owner, until the owner is deleted",
    r"stt:schema": "one number: the version of the data",
    r"stt:token-secret": "one secret, which signs the access tokens of all gateways",
    r"stt:\{keys\}:(all|used)": "API keys, at most a thousand; ended ones are removed after 30 days",
    r"stt:\{limits\}:owners": "limits of owners, which last until an administrator removes them",
    r"stt:pools": "one field per pool; an entry that is a week old is removed by whoever reads it",
    r"stt:workers": "one field per worker; a report that is a minute old is removed by whoever reads it",
}
"""Patterns of whole key names, and why these need no time to live."""

ANSWER_S: Final = 10.0


def staying(port: int) -> list[str]:
    """Keys in the Redis at `port` that lack a required time to live; none if Redis doesn't answer."""
    client = redis.Redis(port=port, decode_responses=True, socket_timeout=ANSWER_S)
    try:
        return sorted(
            key
            for key in client.scan_iter("stt:*", count=1000)
            if client.ttl(key) == -1 and not any(re.fullmatch(pattern, key) for pattern in STAYING)
        )
    except (redis.ConnectionError, redis.TimeoutError):  # the test has killed or paused it
        return []
    finally:
        client.close()


def complain(keys: list[str]) -> None:
    """Fail if `keys` isn't empty."""
    assert not keys, f"keys without a lifetime: {', '.join(keys[:20])} (see tests/support/lifetimes.py)"
