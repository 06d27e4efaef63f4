"""Paths of documents in the archive: `owner=<key>/uid=<uid>/<yyyy>/<mm>/<dd>/<session>.json`. Pure.

A path begins with its owner, so that no API key can write what another reads. Every name is escaped to one
path segment that any file system and any S3 accepts.
"""

import re
from hashlib import sha256
from typing import Final

MAX_BYTES: Final = 200  # of a segment; file systems allow 255
OWNER: Final = "owner="
"""What the name of an owner's folder begins with; names of users never do."""
_UNSAFE: Final = re.compile(rb"[^A-Za-z0-9_.:-]|^\.")


def segment(name: str) -> str:
    """Escape a name to a path segment: unsafe bytes as `=XX`, the end of a long name as its SHA-256."""
    safe = _UNSAFE.sub(lambda found: b"=%02X" % found[0][0], name.encode("utf-8", "surrogatepass")).decode()
    if len(safe) <= MAX_BYTES:
        return safe
    digest = sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{safe[: MAX_BYTES - 66]}=={digest}"


def user_folder(owner: str, uid: str) -> str:
    """The folder of a user's days. `owner`: the first 16 digits of the hashed API key, or ""."""
    return f"{owner_folder(owner)}/uid={segment(uid)}"


def owner_folder(owner: str) -> str:
    """The folder of an owner's users. `owner`: see `user_folder`."""
    return f"{OWNER}{owner or 'none'}"


def owner_of(folder: str) -> str:
    """The owner of a folder's name."""
    name = folder.removeprefix(OWNER)
    return "" if name == "none" else name


def is_of(path: str, owner: str) -> bool:
    """Whether a path is in an owner's folder. Old paths are in none."""
    return path.startswith(f"{owner_folder(owner)}/")


def old_user_folder(uid: str) -> str:
    """The folder of a user's days before paths contained the owner. Its documents contain theirs."""
    return segment(uid)


def document_path(owner: str, uid: str, day: str, sid: str) -> str:
    """The path of a session's document. `day`: its start as `yyyy/mm/dd`, UTC."""
    return f"{user_folder(owner, uid)}/{day}/{segment(sid)}.json"
