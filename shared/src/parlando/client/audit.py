"""The audit log over a gateway's REST API.

async with AuditClient("https://stt.example", api_key=KEY) as audit:
    async for entry in audit.entries(since="2026-11-01", action="key"):
        print(entry["at"], entry["action"], entry["object"])
"""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from parlando.client.http import RestClient

PAGE: Final = 500
POLL_S: Final = 2.0


class AuditClient(RestClient):
    """The audit log; see `RestClient`. With `admin` that of all owners, with `read` one's own."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=60)

    async def entries(
        self,
        *,
        since: str | None = None,
        action: str | None = None,
        owner: str | None = None,
        follow: bool = False,
    ) -> AsyncGenerator[dict[str, Any]]:
        """Yield entries, oldest first. `follow`: also those that are still to come.

        `since`: ISO 8601 or unix seconds. `action`: one action, or all of a kind (`key`). `owner`: who acted.
        """
        asked = {"since": since, "action": action, "owner": owner}
        query = {name: value for name, value in asked.items() if value is not None}
        while True:
            answer = await self._send("GET", "/v1/audit", params={**query, "limit": PAGE})
            page = answer.json()
            for entry in page["entries"]:
                yield entry
            query = {**query, "cursor": page["next"]}
            if not page["more"]:
                if not follow:
                    return
                await asyncio.sleep(POLL_S)
