"""Parsers of HTTP header values, which may contain anything. Pure."""

from typing import Final
from urllib.parse import urlsplit

MAX_DIGITS: Final = 15  # fits a double and a signed 64-bit integer


def whole_number(text: str) -> int | None:
    """A number of up to 15 ASCII digits; None for anything else (`str.isdigit` alone accepts "²")."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS else None


def host_name(host: str) -> str | None:
    """The name in a `Host` header, or in an `Origin` after `//`.

    None for anything other than `name`, `name:port` or `[address]:port`, such as a user name or a path.
    """
    try:
        parts = urlsplit(f"//{host}")
        fits = not (parts.path or parts.query or parts.fragment or "@" in parts.netloc)
        parts.port  # noqa: B018 raises ValueError unless it is a number up to 65535
        return parts.hostname if fits else None
    except ValueError:
        return None


def origin_name(origin: str) -> str | None:
    """The host name of an `Origin` header; None for `null` and anything other than `scheme://host`."""
    scheme, separator, host = origin.partition("://")
    return host_name(host) if scheme and separator else None
