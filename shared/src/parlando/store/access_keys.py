"""The names of the Redis keys of API keys and access tokens.

| key                      | type    | content                                                 |
|--------------------------|---------|---------------------------------------------------------|
| stt:{keys}:all           | hash    | API keys, JSON by id; their secrets only as hashes      |
| stt:{keys}:used          | hash    | when each was last used, unix seconds by id             |
| stt:{keys}:removed       | zset    | ids of keys that were removed, unix seconds             |
| stt:{keys}:changed       | channel | ids of API keys that were created, rotated or revoked   |
| stt:{token:<t>}:sessions | set     | sessions opened with a token that may open so many only |

The hashes have no lifetime: at most a thousand keys, of which those that ended a month ago are removed. The
ids of removed keys expire after a month: until then, no gateway stores such a key again from an old copy.
"""

from typing import Final

API_KEYS: Final = "stt:{keys}:all"
API_KEY_USES: Final = "stt:{keys}:used"
API_KEYS_REMOVED: Final = "stt:{keys}:removed"
API_KEY_CHANNEL: Final = "stt:{keys}:changed"


def token_sessions(token: str) -> str:
    """The sessions that were opened with an access token of limited sessions."""
    return f"stt:{{token:{token}}}:sessions"
