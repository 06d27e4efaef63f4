"""Where documents lie in the archive: `owner=<key>/uid=<uid>/<yyyy>/<mm>/<dd>/<session>.json`. Pure.

A path begins with its owner, so that no API key can write what another reads. Names of all kinds become one
segment each, which any file system and any S3 takes.
"""

import re
from hashlib import sha256
from typing import Final

MAX_BYTES: Final = 200  # of a segment; file systems take 255
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_.:-]|^\.")


def segment(name: str) -> str:
    """A name as one segment of a path: unsafe bytes as `=XX`; a long one's end is replaced by its SHA-256."""
    safe = _UNSAFE.sub(lambda found: b"=%02X" % found[0][0], name.encode("utf-8", "surrogatepass")).decode()
    if len(safe) <= MAX_BYTES:
        return safe
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe[: MAX_BYTES - 66]}=={digest}"


def user_folder(owner: str, uid: str) -> str:
    """The folder of a user's days. `owner`: the first 16 digits of the hashed API key, or ""."""
    return f"owner={owner or 'none'}/uid={segment(uid)}"


def old_user_folder(uid: str) -> str:
    """Where a user's days lay before paths had an owner; documents there name theirs inside."""
    return segment(uid)


def document_path(owner: str, uid: str, day: str, sid: str) -> str:
    """The path of a session's document. `day`: `yyyy/mm/dd` on which it began (UTC)."""
    return f"{user_folder(owner, uid)}/{day}/{segment(sid)}.json"
