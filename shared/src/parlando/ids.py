"""Names: those that nobody can guess, and the one rule for each name that a client chooses.

Patterns are for schemas and pydantic, whose `$` is the very end; in Python use the functions.
"""

import re
import secrets
import unicodedata
import zlib
from hashlib import sha256

UID_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"
"""What Omi allows in a user's id; it becomes a part of keys and paths."""

JOB_ID_PATTERN = r"^j_[0-9a-f]{30}$"

JOB_CURSOR_PATTERN = r"^[0-9]{1,16}(-j_[0-9a-f]{30})?$"
"""A place in a list of jobs: unix milliseconds, and the job among those of that millisecond."""

SESSION_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"

MAX_FILE_NAME = 200  # characters


def is_uid(name: str) -> bool:
    """Whether it may be a user's id."""
    return re.fullmatch(UID_PATTERN, name) is not None


def is_session_id(name: str) -> bool:
    """Whether it may be a session's id."""
    return re.fullmatch(SESSION_ID_PATTERN, name) is not None


def one_line(text: str) -> str:
    """A title or label for people, as it is. Raises ValueError for control characters and line breaks."""
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise ValueError("expected one line without control characters")
    return text


def file_name(name: str) -> str:
    """The last part of a path, without control characters, cut to 200 characters; for show only."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = (character for character in last if unicodedata.category(character) not in _UNPRINTABLE)
    return "".join(kept)[:MAX_FILE_NAME]


_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, surrogate, line and paragraph separators


def new_session_id(partition: int | None = None, partitions: int = 1) -> str:
    """A fresh session id with 120 random bits; one whose keys lie in `partition`, if that's given."""
    while True:
        name = f"s_{secrets.token_hex(15)}"
        if partition is None or partition_of(name, partitions) == partition:
            return name


def new_job_id() -> str:
    """A fresh job id with 120 random bits."""
    return f"j_{secrets.token_hex(15)}"


def job_id_for(key: str, name: str) -> str:
    """The id of the job that `key` submits under an idempotency key: the same each time."""
    return f"j_{sha256(f'{fingerprint(key)}:{name}'.encode()).hexdigest()[:30]}"


def new_token() -> str:
    """A resume token with 192 random bits."""
    return secrets.token_urlsafe(24)


def new_worker_id(kind: str) -> str:
    """A worker's id, unique to one life of one process."""
    return f"{kind}-{secrets.token_hex(6)}"


def fingerprint(secret: str) -> str:
    """SHA-256 of a token or key in hex; what Redis holds instead of the secret. "" stays ""."""
    return sha256(secret.encode()).hexdigest() if secret else ""


def partition_of(name: str, partitions: int) -> int:
    """The partition that holds all keys of a session or job: crc32(id) mod `partitions`."""
    return zlib.crc32(name.encode()) % partitions
