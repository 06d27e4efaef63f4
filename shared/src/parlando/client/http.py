"""Shared by the REST clients: error responses as exceptions, and server-sent events with reconnection."""

import asyncio
import math
import time
from collections.abc import AsyncGenerator
from typing import Any, Final

import httpx
from httpx_sse import EventSource, SSEError

from parlando.client.session import ClientError

WAIT_S: Final = 0.5  # pause between two connection attempts
TRIES: Final = 60  # maximum consecutive failed attempts
PATIENCE_S: Final = 60.0
"""`patience_s` of `follow` for a session: if Redis has lost it, its owner has so long to reopen it."""
UNKNOWN: Final = (401, 404)  # responses for a lost session, to a viewer and to the owner
UNREACHABLE: Final = (502, 503, 504)  # responses while a gateway restarts


def refusal(answer: httpx.Response) -> ClientError:
    """The error in a gateway's response, whose body must have been read."""
    try:
        problem = answer.json()
        return ClientError(problem["code"], problem["detail"])
    except (ValueError, KeyError, TypeError):
        return ClientError("http", f"The gateway answered {answer.status_code}")


async def follow(
    client: httpx.AsyncClient, url: str, *, after: int = 0, patience_s: float = 0
) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the events after number `after`, each once; reconnects after a broken connection.

    An event `restarted` reports that a session was reopened; all events since then follow.

    `patience_s`: seconds for which the gateway may report the session or job as unknown after it was
    followed.

    Raises
    ------
    ClientError
        if the gateway refuses the request, or is unreachable for half a minute.

    """
    failures, seen_at, position = 0, -math.inf, str(after)
    while failures < TRIES:
        try:
            async with client.stream("GET", url, headers={"Last-Event-ID": position}) as answer:
                patient = answer.status_code in UNKNOWN and time.monotonic() - seen_at < patience_s
                if answer.is_error and answer.status_code not in UNREACHABLE and not patient:
                    await answer.aread()
                    raise refusal(answer)
                if answer.is_success:
                    try:
                        async for event in EventSource(answer).aiter_sse():
                            position = event.id or position
                            if event.data:  # none comes with `retry`
                                failures = 0
                                yield event.json()
                    finally:
                        seen_at = time.monotonic()
        except (httpx.HTTPError, SSEError):
            pass
        failures += 1
        await asyncio.sleep(WAIT_S)
    raise ClientError("unreachable", f"The connection to {url} was lost too often")
