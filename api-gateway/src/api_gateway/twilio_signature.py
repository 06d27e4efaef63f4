"""Twilio's request signatures. Pure.

`X-Twilio-Signature` is the HMAC-SHA1 of the URL, followed by the names and values of a form in the order of
the names, in base64. The key is the account's auth token.
"""

from base64 import b64encode
from collections.abc import Iterable
from hmac import compare_digest, digest

_SECURE = {"ws": "wss", "http": "https"}


def sign(token: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> str:
    """The signature of a request to `url` with a form's `fields`."""
    signed = url + "".join(f"{name}{value}" for name, value in sorted(fields))
    return b64encode(digest(token.encode(), signed.encode(), "sha1")).decode()


def matches(token: str, signature: str, url: str, fields: Iterable[tuple[str, str]] = ()) -> bool:
    """Whether a signature fits the request, in constant time.

    A proxy that ends TLS may hide that the caller's URL was `wss` or `https`; so the URL counts as either. A
    stream's URL may be signed with a slash at its end.
    """
    scheme, _, rest = url.partition("://")
    urls = [f"{each}://{rest}{end}" for each in {scheme, _SECURE.get(scheme, scheme)} for end in ("", "/")]
    fields = list(fields)
    expected = [sign(token, each, fields) for each in urls]
    found = [compare_digest(signature.encode(), each.encode()) for each in expected]
    return any(found)
