"""`parlando tail SESSION`: somebody's captions, from the beginning and as they come."""

import time
from typing import Final

import httpx
import orjson

from parlando.cli.captions import Captions
from parlando.client import ClientError

WAIT_S: Final = 0.5  # until a connection that broke is tried again …
TRIES: Final = 60  # … so many times in a row


def run(session: str, *, url: str, key: str | None) -> None:
    """Follow a session until it's closed. Raises `ClientError` if there's none."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    path = f"{url.rstrip('/')}/v1/stt/sessions/{session}/events"
    seen, failures = 0, 0
    with Captions() as captions, httpx.Client(headers=headers, timeout=httpx.Timeout(10, read=40)) as client:
        while failures < TRIES:
            try:
                with client.stream("GET", path, headers={"Last-Event-ID": str(seen)}) as answer:
                    if answer.is_error:
                        answer.read()
                        raise ClientError("refused", str(answer.json().get("detail", answer.status_code)))
                    for line in answer.iter_lines():
                        if line.startswith("data: "):
                            event = orjson.loads(line[6:])
                            seen, failures = event.get("seq", seen), 0
                            captions.show(event)
                            if event["type"] == "closed":
                                return
            except httpx.HTTPError:
                failures += 1
                time.sleep(WAIT_S)
    raise ClientError("unreachable", f"No gateway answers at {url}")
