"""The names of the Redis keys of limits.

| key                               | type    | content                                                  |
|-----------------------------------|---------|----------------------------------------------------------|
| stt:{limits}:owners               | hash    | limits of owners, JSON by the first digits of the owner  |
| stt:{limits}:changed              | channel | owners whose limits were changed                         |
| stt:limits:requests/<who>/…       | list    | times of a minute's requests, one list per limit         |
| stt:{limits:<owner>}:<what>       | zset    | an owner's `sessions` or waiting `jobs`, by their expiry |
| stt:{limits:<owner>}:<what>:<key> | zset    | those of one key (`-` for the keys of `API_KEYS`)        |
| stt:{limits:<owner>}:running      | hash    | session → ms that aren't in the usage yet, and key; sums |

The limits of owners have no lifetime: they last until an administrator removes them, at most `MAX_OWNERS`.
"""

from typing import Final

OWNER_LIMITS: Final = "stt:{limits}:owners"
LIMITS_CHANNEL: Final = "stt:{limits}:changed"
WINDOWS: Final = "stt:limits"
"""Prefix of the lists of requests."""
SESSIONS: Final = "sessions"
JOBS: Final = "jobs"
NO_KEY: Final = "-"


def owner_id(owner: str) -> str:
    """The name of an owner (a fingerprint; "" where no keys are configured) in Redis and in routes."""
    return owner[:16] or "none"


def held(owner: str, what: str) -> str:
    """What an owner holds: `SESSIONS` or `JOBS`."""
    return f"stt:{{limits:{owner_id(owner)}}}:{what}"


def held_by_key(owner: str, what: str, key_id: str) -> str:
    """What one of its keys holds."""
    return f"{held(owner, what)}:{key_id or NO_KEY}"


def running(owner: str) -> str:
    """The audio of the owner's live sessions that isn't in its usage yet."""
    return held(owner, "running")
