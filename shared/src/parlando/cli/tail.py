"""`parlando tail SESSION`: the captions of a session, from its beginning and as they arrive."""

from contextlib import aclosing

import httpx

from parlando.cli.captions import Captions
from parlando.client.http import PATIENCE_S, follow


async def run(session: str, *, url: str, key: str | None) -> None:
    """Follow a session until it closes. Raises `ClientError` if it does not exist."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    path = f"{url.rstrip('/')}/v1/stt/sessions/{session}/events"
    with Captions() as captions:
        async with (
            httpx.AsyncClient(headers=headers, timeout=httpx.Timeout(10, read=40)) as client,
            aclosing(follow(client, path, patience_s=PATIENCE_S)) as events,
        ):
            async for event in events:
                captions.show(event)
                if event["type"] == "closed":
                    return
