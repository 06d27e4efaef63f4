"""Ids and tokens: generation of unguessable ones, and validation of those chosen by clients.

The patterns are for JSON schemas and pydantic, where `$` matches only at the end of the string. In Python `$`
also matches before a final newline: use the functions.
"""

import re
import secrets
import unicodedata
import zlib
from hashlib import sha256

UID_PATTERN = r"^[A-Za-z0-9_-]{1,128}$"
"""User ids as Omi defines them; they become part of Redis keys and paths."""

JOB_ID_PATTERN = r"^j_[0-9a-f]{30}$"

UPLOAD_ID_PATTERN = r"^u_[0-9a-f]{30}$"

JOB_CURSOR_PATTERN = r"^[0-9]{1,16}(-j_[0-9a-f]{30})?$"
"""A position in a list of jobs: unix milliseconds, and optionally the job id within that millisecond."""

SESSION_ID_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9_.:-]{0,127}$"

MAX_FILE_NAME = 200  # characters


def is_uid(name: str) -> bool:
    """Whether `name` is a valid user id."""
    return re.fullmatch(UID_PATTERN, name) is not None


def is_session_id(name: str) -> bool:
    """Whether `name` is a valid session id."""
    return re.fullmatch(SESSION_ID_PATTERN, name) is not None


def one_line(text: str) -> str:
    """`text` unchanged. Raises ValueError if it has control characters or line breaks."""
    if any(unicodedata.category(character) in _UNPRINTABLE for character in text):
        raise ValueError("expected one line without control characters")
    return text


def file_name(name: str) -> str:
    """The last component of a path without control characters, at most 200 characters; for display only."""
    last = name.replace("\\", "/").rpartition("/")[2]
    kept = (character for character in last if unicodedata.category(character) not in _UNPRINTABLE)
    return "".join(kept)[:MAX_FILE_NAME]


_UNPRINTABLE = frozenset({"Cc", "Cs", "Zl", "Zp"})  # control, surrogate, line and paragraph separators


def new_session_id(partition: int | None = None, partitions: int = 1) -> str:
    """A new session id with 120 random bits; if `partition` is given, one that falls into it."""
    while True:
        name = f"s_{secrets.token_hex(15)}"
        if partition is None or partition_of(name, partitions) == partition:
            return name


def new_job_id() -> str:
    """A new job id with 120 random bits."""
    return f"j_{secrets.token_hex(15)}"


def job_id_for(key: str, name: str) -> str:
    """The deterministic id of the job that owner `key` submits under idempotency key `name`."""
    return f"j_{sha256(f'{key}:{name}'.encode()).hexdigest()[:30]}"


def new_token() -> str:
    """A resume token with 192 random bits."""
    return secrets.token_urlsafe(24)


def new_worker_id(kind: str) -> str:
    """A new worker id, unique to one run of one process."""
    return f"{kind}-{secrets.token_hex(6)}"


def fingerprint(secret: str) -> str:
    """SHA-256 of a token or key in hex, stored in Redis instead of the secret; "" for ""."""
    return sha256(secret.encode()).hexdigest() if secret else ""


def partition_of(name: str, partitions: int) -> int:
    """The partition that holds all keys of a session or job: crc32(id) mod `partitions`."""
    return zlib.crc32(name.encode()) % partitions
