"""Usage per owner and day, over a gateway's REST API.

async with UsageClient("https://stt.example", api_key=KEY) as usage:
    month = await usage.get(first="2026-11-01", last="2026-11-30")
    print(month["total"]["audio_s"], month["total"]["cost_usd"])
"""

from datetime import date
from typing import Any, cast

from parlando.client.http import RestClient

Document = dict[str, Any]
Day = date | str
"""A day, or its ISO 8601 form."""


class UsageClient(RestClient):
    """The usage of owners; see `RestClient`. Days are days in UTC.

    `first`, `last`: inclusive; None for the beginning of the month of `last`, and today. `owner`: None for
    the key's own; the name or fingerprint of another, or "*" for all, needs a key with the scope `admin`.
    """

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=60)

    async def get(
        self, *, first: Day | None = None, last: Day | None = None, owner: str | None = None
    ) -> Document:
        """The `total`, and `days` with a document for each owner and day with usage."""
        answer = await self._send("GET", "/v1/usage", params=_query(first, last, owner))
        return cast(Document, answer.json())

    async def csv(
        self, *, first: Day | None = None, last: Day | None = None, owner: str | None = None
    ) -> str:
        """The days as CSV with a line of names."""
        query = {**_query(first, last, owner), "format": "csv"}
        return (await self._send("GET", "/v1/usage", params=query)).text


def _query(first: Day | None, last: Day | None, owner: str | None) -> dict[str, str]:
    found = {"from": first, "to": last, "owner": owner}
    return {name: str(value) for name, value in found.items() if value is not None}
