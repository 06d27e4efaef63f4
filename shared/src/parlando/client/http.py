"""What the REST clients share: refusals as errors, and server-sent events over broken connections."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

import httpx
import orjson

from parlando.client.session import ClientError

WAIT_S: Final = 0.5  # until a connection that broke is tried again …
TRIES: Final = 60  # … so many times in a row
PATIENCE_S: Final = 60.0
"""For `follow`ing a session: that long Redis may have lost it, until its owner has opened it anew."""
UNKNOWN: Final = (401, 404)  # what is answered meanwhile, to a viewer and to the owner
AWAY: Final = (502, 503, 504)  # what is answered while a gateway restarts


def refusal(answer: httpx.Response) -> ClientError:
    """The error that a gateway's answer means; its body must have been read."""
    try:
        problem = answer.json()
        return ClientError(problem["code"], problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ClientError("http", f"The gateway answered {answer.status_code}")


async def follow(
    client: httpx.AsyncClient, url: str, *, after: int = 0, patience_s: float = 0
) -> AsyncGenerator[dict[str, Any], None]:
    """The events behind number `after`, each once, for as long as the caller wants more.

    `restarted` says that a session was opened anew: all events of its new life follow.

    What was followed may be unknown for up to `patience_s` seconds.

    Raises
    ------
    ClientError
        if the gateway refuses, or can't be reached for half a minute.

    """
    failures, seen_at, position = 0, -math.inf, str(after)
    while failures < TRIES:
        try:
            async with client.stream("GET", url, headers={"Last-Event-ID": position}) as answer:
                patient = answer.status_code in UNKNOWN and time.monotonic() - seen_at < patience_s
                if answer.is_error and answer.status_code not in AWAY and not patient:
                    await answer.aread()
                    raise refusal(answer)
                async for line in answer.aiter_lines():
                    if answer.is_success:
                        seen_at = time.monotonic()
                    if line.startswith("id: "):
                        position = line[4:]
                    elif line.startswith("data: "):
                        failures = 0
                        yield orjson.loads(line[6:])
        except httpx.HTTPError:
            pass
        failures += 1
        await asyncio.sleep(WAIT_S)
    raise ClientError("unreachable", f"The connection to {url} broke too often")
