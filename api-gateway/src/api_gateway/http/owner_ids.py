"""Owners in paths and queries: `me`, `none` (a gateway without keys), digits of the fingerprint, a name."""

import re
from typing import Final

from parlando.errors import InvalidRequestError
from parlando.ids import fingerprint, one_line

OWNER_PATTERN: Final = r"^(me|none|[0-9a-f]{16}|[0-9a-f]{64})$"
"""`me`, `none`, the first 16 digits of an owner's fingerprint, as lists show them, or all 64."""


def prefix_of(owner: str, own: str) -> str:
    """The first 16 digits of an owner's fingerprint, "" for `none`. `own`: the caller's."""
    if owner == "me":
        return own
    return "" if owner == "none" else owner[:16]


def prefix_of_named(owner: str, own: str) -> str:
    """As `prefix_of`; what doesn't match `OWNER_PATTERN` is a name. Raises `InvalidRequestError`."""
    if re.fullmatch(OWNER_PATTERN, owner):
        return prefix_of(owner, own)
    try:
        valid = bool(one_line(owner).strip())
    except ValueError:
        valid = False
    if not valid:
        raise InvalidRequestError("owner: expected a name in one line, or the 16 digits that keys show")
    return named_owner(owner)[:16]


def named_owner(name: str) -> str:
    """The fingerprint of an owner with a name: the same for all of its keys."""
    return fingerprint(f"owner:{name}")
