"""The names of the keys of resumable uploads. All are in one slot: there are few uploads, each of many bytes.

| key                   | type       | content                                                              |
|-----------------------|------------|----------------------------------------------------------------------|
| stt:{uploads}:of:<id> | hash       | an upload's length, metadata and owner, and the job that it was for  |
| stt:{uploads}:all     | sorted set | unfinished uploads by the time they expire, in milliseconds          |
| …:by:<key>            | sorted set | those of an API key (hashed)                                         |
"""

from typing import Final

MAX_TTL_S: Final = 7 * 24 * 3600
"""Largest `UPLOAD_TTL_S`: seconds after its last byte that an unfinished upload is kept."""
ALL: Final = "stt:{uploads}:all"
UPLOADS: Final = "stt:{uploads}:of:"
"""What the key of an upload begins with; its id follows."""
OWNERS: Final = "stt:{uploads}:by:"
"""What the key of an owner's uploads begins with; the first 16 digits of the hashed API key follow."""


def keys(upload: str, owner: str) -> list[str]:
    """KEYS of the scripts on one upload of an API key, hashed."""
    return [f"{UPLOADS}{upload}", ALL, f"{OWNERS}{owner[:16]}"]
