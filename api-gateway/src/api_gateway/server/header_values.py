"""Values out of HTTP headers, which may hold anything. Pure."""

from typing import Final
from urllib.parse import urlsplit

MAX_DIGITS: Final = 15  # fits a double and a signed 64-bit integer


def whole_number(text: str) -> int | None:
    """A number of up to 15 ASCII digits; None for anything else (`str.isdigit` also accepts "²")."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def host_name(host: str) -> str | None:
    """The name in a `Host` header or in the part of an `Origin` behind `//`; None if there is none.

    What isn't `name`, `name:port` or `[address]:port` has none: a user name, a path, a broken bracket.
    """
    try:
        parts = urlsplit(f"//{host}")
        fits = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        parts.port  # noqa: B018 raises ValueError where it is no number up to 65535
        return parts.hostname if fits else None
    except ValueError:
        return None


def origin_name(origin: str) -> str | None:
    """The host name of an `Origin` header; None for `null` and for what is no `scheme://host`."""
    scheme, separator, host = origin.partition("://")
    return host_name(host) if scheme and separator else None
