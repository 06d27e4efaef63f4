"""API keys over a gateway's REST API: create, list, rotate, revoke; and short-lived tokens.

async with KeysClient("https://stt.example", api_key=ADMIN) as keys:
    made = await keys.create("phone", scopes=["live", "read"])
    print(made["key"])  # it can't be read again
"""

from collections.abc import Mapping, Sequence
from typing import Any, cast
from urllib.parse import quote

from parlando.client.http import RestClient

Document = dict[str, Any]


class KeysClient(RestClient):
    """The API keys of a cluster; see `RestClient`. All but `token` need a key with the scope `admin`."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=60)

    async def _ask(self, method: str, path: str, **more: Any) -> Document:
        return cast(Document, (await self._send(method, path, **more)).json())

    async def create(
        self,
        name: str,
        *,
        scopes: Sequence[str],
        owner: str | None = None,
        doors: Sequence[str] = (),
        expires_at: str | None = None,
        limits: Mapping[str, int] | None = None,
    ) -> Document:
        """Create a key; the document has its secret as `key`.

        `owner`: whom everything made with it belongs to; None for the owner of the client's own key. `doors`:
        protocols that accept it; none for all. `expires_at`: ISO 8601 with a time zone. `limits`: of this key
        alone, such as `{"sessions": 2}`; see docs/security.md.
        """
        body = {
            "name": name,
            "scopes": [*scopes],
            "owner": owner,
            "doors": [*doors],
            "expires_at": expires_at,
            "limits": {**(limits or {})},
        }
        return await self._ask("POST", "/v1/keys", json=body)

    async def list(self) -> list[Document]:
        """All keys, oldest first."""
        return cast(list[Document], (await self._ask("GET", "/v1/keys"))["keys"])

    async def get(self, key_id: str) -> Document:
        """A key."""
        return await self._ask("GET", f"/v1/keys/{key_id}")

    async def rotate(self, key_id: str, *, grace_seconds: int = 0) -> Document:
        """Give a key another secret (`key`); the old one is accepted for `grace_seconds`."""
        return await self._ask("POST", f"/v1/keys/{key_id}/rotate", json={"grace_seconds": grace_seconds})

    async def revoke(self, key_id: str) -> Document:
        """Revoke a key. Connections that use it end within two seconds."""
        return await self._ask("DELETE", f"/v1/keys/{key_id}")

    async def limit(self, key_id: str, limits: Mapping[str, int]) -> Document:
        """Set all limits of a key: 0, or left out, for none of its own."""
        return await self._ask("PUT", f"/v1/keys/{key_id}/limits", json={**limits})

    async def owner_limits(self, owner: str) -> Document:
        """The limits of an owner: those that are set (`limits`), and those that apply (`effective`)."""
        return await self._ask("GET", f"/v1/owners/{quote(owner, safe='')}/limits")

    async def limit_owner(self, owner: str, limits: Mapping[str, int] | None) -> Document:
        """Set all limits of an owner: 0 for none, left out for the cluster's; None removes them."""
        path = f"/v1/owners/{quote(owner, safe='')}/limits"
        if limits is None:
            return await self._ask("DELETE", path)
        return await self._ask("PUT", path, json={**limits})

    async def token(
        self, *, scopes: Sequence[str] = ("live",), seconds: int = 60, sessions: int | None = None
    ) -> Document:
        """Make a token that stands for the client's own key for `seconds`; the document has it as `token`.

        `sessions`: how many live sessions it may open; None for any number.
        """
        body = {"scopes": [*scopes], "seconds": seconds, "sessions": sessions}
        return await self._ask("POST", "/v1/tokens", json=body)
