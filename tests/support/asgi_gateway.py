"""A gateway in this process with two owners, for tests of its routes."""

import json
from contextlib import asynccontextmanager

from api_gateway.app import create_app
from api_gateway.settings import GatewaySettings
from parlando.domain.access import ALL_SCOPES, Scope
from parlando.domain.job_options import JobOptions
from parlando.ids import fingerprint, new_job_id
from parlando.store.api_keys import KeyRequest
from parlando.store.audit import AUDIT
from parlando.store.connection import connect
from parlando.store.job_store import Source
from support.asgi import ask
from support.pools import PLACE, POOL

MINE, THEIRS = fingerprint("owner:mine"), fingerprint("owner:theirs")
SID = "s_of_mine"
ADMIN = {"authorization": "Bearer configured"}


class Gateway:
    """One gateway in this process; `mine` and `theirs` are keys with all scopes but admin."""

    def __init__(self, app, redis) -> None:
        self.app = app
        self.redis = redis
        self.services = app.state.services
        self.mine: dict[str, str] = {}
        self.theirs: dict[str, str] = {}

    async def keys(self) -> None:
        scopes = tuple(sorted(ALL_SCOPES - {Scope.ADMIN}))
        for name, owner in (("mine", MINE), ("theirs", THEIRS)):
            _, secret = await self.services.access.ring.keys.create(KeyRequest(name, owner, "", scopes))
            setattr(self, name, {"authorization": f"Bearer {secret}"})
        await self.services.access.ring.read()  # look-ups of unknown keys are limited

    async def job(self) -> str:
        name = new_job_id()
        await self.services.jobs.submit(name, Source("none", "a.wav"), JobOptions(), pool=POOL, key=MINE)
        return name

    async def ask(self, method: str, path: str, headers=ADMIN, **more):
        return await ask(self.app, method, path, headers=headers, **more)

    async def stored(self) -> list[dict]:
        return [json.loads(fields[b"e"]) for _, fields in await self.redis.xrange(AUDIT)]

    async def read(self, query: str = "", headers=ADMIN) -> dict:
        answer = await self.ask("GET", "/v1/audit", headers, query=query)
        assert answer.status == 200, answer.body
        return json.loads(answer.body)


@asynccontextmanager
async def gateway_of(url: str, folder, **more):
    """The gateway. `SID` is an open session of `MINE`."""
    settings = GatewaySettings(
        redis_url=url,
        api_keys=("configured",),
        blob_url=str(folder / "blobs"),
        archive_url=str(folder / "archive"),
        **more,
    )
    app = create_app(settings)
    redis = connect(url)
    async with app.router.lifespan_context(app):
        gateway = Gateway(app, redis)
        await gateway.keys()
        await gateway.services.sessions.open(SID, places=[PLACE], config={}, token="t" * 20, key=MINE)
        yield gateway
    await redis.aclose()
