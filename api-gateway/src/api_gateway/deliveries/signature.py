"""Webhook signatures, `t=<unix>,v1=<hex>[,v1=<hex>]`. Pure.

The HMAC-SHA256 is over `<t>.<uid>.<body>` for Omi, and over `<t>.<body>` for callbacks of jobs.
"""

import hmac
from collections.abc import Iterable
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from standardwebhooks import Webhook

from api_gateway.server.header_values import whole_number

TOLERANCE_S: Final = 300


def sign(secret: str, uid: str, body: bytes, *, at: int) -> str:
    """The signature header of a body for Omi. `at`: unix time in seconds."""
    return f"t={at},v1={_digest(secret, uid, body, at)}"


def sign_plain(secret: str, body: bytes, *, at: int) -> str:
    """The signature header of a body without a user. `at`: unix time in seconds."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, sha256).hexdigest()
    return f"t={at},v1={digest}"


def standard_headers(secret: str, message_id: str, body: bytes, *, at: int) -> dict[str, str]:
    """The headers of the Standard Webhooks specification (https://www.standardwebhooks.com).

    A secret that begins with `whsec_` is base64, as in the specification; of any other the bytes are the key.
    """
    webhook = Webhook(secret if secret.startswith("whsec_") else secret.encode())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(at),
        "webhook-signature": webhook.sign(message_id, datetime.fromtimestamp(at, UTC), body.decode()),
    }


def _digest(secret: str, uid: str, body: bytes, at: int) -> str:
    return hmac.new(secret.encode(), f"{at}.{uid}.".encode() + body, sha256).hexdigest()


def verify(header: str, secrets: Iterable[str], uid: str, body: bytes, *, now: float) -> bool:
    """Whether a signature matches one of `secrets` and is at most five minutes old."""
    stamp, signatures = None, []
    for part in header.split(","):
        name, _, value = part.strip().partition("=")
        if name == "t":
            stamp = whole_number(value)
        elif name == "v1":
            signatures.append(value)
    if stamp is None or abs(now - stamp) > TOLERANCE_S:
        return False
    expected = [_digest(secret, uid, body, stamp) for secret in secrets]
    return any(
        hmac.compare_digest(given.encode(), valid.encode()) for given in signatures for valid in expected
    )


def secrets_for(configured: Iterable[str], uid: str) -> list[str]:
    """The secrets that are valid for a user: its own (`uid=secret`), and those of all users."""
    found = []
    for entry in configured:
        name, equals, secret = entry.partition("=")
        if not equals:
            found.append(entry)
        elif name == uid:
            found.append(secret)
    return found
