"""Every route and live protocol × every kind of caller → the expected answer. One gateway in this process.

The routes are those of the app: a route without an entry in `permissions.ROUTES` fails.
"""

import asyncio
import json
import re
import time
from collections import defaultdict
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import pytest
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from starlette.routing import Route

from api_gateway.app import create_app
from api_gateway.audit_table import AUDITED
from api_gateway.doors.table import DOORS, WebSocketDoor
from api_gateway.permissions import ROUTES, Rule, door_rule
from api_gateway.settings import GatewaySettings
from parlando.domain.access import ALL_SCOPES, Scope
from parlando.domain.job_options import JobOptions
from parlando.errors import UnavailableError
from parlando.ids import fingerprint, new_job_id
from parlando.store.api_keys import KeyRequest
from parlando.store.job_store import Source
from parlando.store.key_ring import KeyRing
from support.asgi import Answered, ask, connect
from support.pools import PLACE, POOL

MINE, THEIRS = fingerprint("owner:mine"), fingerprint("owner:theirs")
SID = "s_matrix"
VISIBLE = {
    "GET /v1/stt/sessions/{sid}/transcript",
    "GET /v1/stt/sessions/{sid}/events",
    "GET /v1/stt/sessions/{sid}/speakers",
    "GET /v1/stt/sessions/{sid}/corrections",
    "POST /v1/stt/sessions/{sid}/digest",
}
"""Routes that answer a session's viewers."""
OWNED = re.compile(r"\{(sid|job_id)\}")
"""In the paths of routes to what belongs to someone."""
ISSUING = {
    "POST /v1/tokens": {Scope.LIVE},
    "POST /v1/realtime/client_secrets": {Scope.LIVE},
    "POST /v1/realtime/transcription_sessions": {Scope.LIVE},
    "POST /v1/auth/grant": {Scope.LIVE, Scope.JOBS},
    "GET /v3/token": {Scope.LIVE},
}
"""Routes that make tokens, which no token may use; the scopes of which the key must have one."""


@dataclass(frozen=True)
class Caller:
    """`credential`: what it sends. `scopes`, `doors`: what it may do; scopes are None if it is refused."""

    name: str
    credential: str = ""
    scopes: frozenset[Scope] | None = None
    doors: tuple[str, ...] = ()
    by_token: bool = False
    viewer: bool = False
    mine: bool = True


class Gateway:
    """One gateway with a Redis; a session and jobs belong to `MINE`."""

    def __init__(self, app) -> None:
        self.app = app
        self.services = app.state.services

    async def job(self) -> str:
        name = new_job_id()
        source = Source("none", "a.wav")
        await self.services.jobs.submit(name, source, JobOptions(analyze="entities"), pool=POOL, key=MINE)
        return name

    async def callers(self) -> list[Caller]:
        keys, ring = self.services.access.ring.keys, self.services.access.ring

        async def made(name: str, scopes=ALL_SCOPES, *, owner=MINE, doors=(), expires_at=0) -> Caller:
            request = KeyRequest(name, owner, "", tuple(sorted(scopes)), doors, expires_at)
            _, secret = await keys.create(request)
            return Caller(name, secret, frozenset(scopes), doors, mine=owner == MINE)

        def refused(caller: Caller) -> Caller:
            return replace(caller, scopes=None)

        every = await made("every scope")
        doomed, turned = await made("revoked"), await made("replaced secret")
        expired = await made("expired", expires_at=int(time.time()) - 1)
        callers = [
            Caller("no key"),
            Caller("wrong key", "wrong"),
            Caller("key of no id", f"pk_{'0' * 12}_{'x' * 43}"),
            Caller("wrong secret", f"{every.credential[:-4]}0000"),
            Caller("key of API_KEYS", "configured", ALL_SCOPES, mine=False),
            every,
            *[await made(f"only {scope}", {scope}) for scope in Scope],
            await made("other owner", owner=THEIRS),
            await made("vosk only", doors=("vosk",)),
            refused(doomed),
            refused(turned),
            refused(expired),
        ]
        await ring.read()
        tokens = {
            "session token": (every, {Scope.LIVE}, 1),
            "token to read": (every, {Scope.READ}, 0),
            "token of a revoked key": (doomed, {Scope.LIVE}, 0),
            "token of a replaced secret": (turned, {Scope.LIVE}, 0),
        }
        for name, (of, scopes, sessions) in tokens.items():
            access = self.services.access
            issuer = await access._caller(_sending(of.credential), of.credential)
            token, _ = await access.issue(issuer, 600, scopes=scopes, sessions=sessions)
            known = Caller(name, token, frozenset(scopes), by_token=True)
            callers.append(refused(known) if of in (doomed, turned) else known)
        await keys.revoke(_id(doomed))
        await keys.rotate(_id(turned))
        await ring.read()
        _, viewer = await self.services.viewers.add(SID)
        return [*callers, Caller("viewer token", viewer, viewer=True)]


def _id(caller: Caller) -> str:
    return caller.credential.split("_")[1]


def _sending(credential: str):
    from api_gateway.handshake import Handshake

    return Handshake(peer="127.0.0.1", headers={"authorization": f"Bearer {credential}"})


@pytest.fixture
async def gateway(redis_server, tmp_path):
    async with _gateway(redis_server.url, tmp_path) as gateway:
        yield gateway


@asynccontextmanager
async def _gateway(url: str, folder):
    settings = GatewaySettings(
        redis_url=url, api_keys=("configured",), blob_url=str(folder), archive_url=str(folder / "archive")
    )
    app = create_app(settings)
    async with app.router.lifespan_context(app):
        gateway = Gateway(app)
        await gateway.services.sessions.open(SID, places=[PLACE], config={}, token="t" * 20, key=MINE)
        yield gateway


# --- the answers ------------------------------------------------------------------------------------


def _verdict(rule: Rule, route: str, caller: Caller) -> str:
    """`unknown` (401), `forbidden` (403), `missing` (404, as for what belongs to others), or `served`."""
    if rule.needs == "public":
        return "served"
    if caller.viewer and route in VISIBLE:
        return "served"
    if caller.scopes is None:
        return "unknown"
    if isinstance(rule.needs, Scope) and not {rule.needs, rule.own} & caller.scopes:
        return "forbidden"
    if caller.doors and rule.door and rule.door not in caller.doors:
        return "forbidden"
    if caller.by_token and route in ISSUING:
        return "unknown"
    if caller.by_token and route == "POST /v1/stt/sessions/{sid}/viewers":
        return "forbidden"  # the viewer token would outlive it
    if not ISSUING.get(route, ALL_SCOPES) & caller.scopes:
        return "forbidden"
    if not caller.mine and OWNED.search(route):
        return "missing"
    if not caller.mine and "{owner}" in route and Scope.ADMIN not in caller.scopes:
        return "missing"
    return "served"


def _said(route: str, answer: Answered) -> str:
    if answer.status == 401 or (answer.code == "key_not_found" and "{key_id}" not in route):
        return "unknown"
    if answer.status == 403:
        return "forbidden"
    if answer.code == "owner_not_found":
        return "missing"
    if answer.code in ("session_not_found", "job_not_found") and OWNED.search(route):
        return "missing"
    return "served"


async def test_every_route_answers_every_caller_as_the_table_says(gateway):
    callers = await gateway.callers()
    wrong, counts = [], defaultdict(int)
    for route, rule in ROUTES.items():
        method, path = route.split(" ")
        for caller in callers:
            filled = path.replace("{sid}", SID).replace("{key}", caller.credential or "none")
            if "{job_id}" in filled:
                filled = filled.replace("{job_id}", await gateway.job())
            filled = filled.replace("{key_id}", "0" * 12).replace("{viewer_id}", "0" * 12)
            filled = re.sub(r"\{(number|segment)\}", "1", filled)
            filled = filled.replace("{owner}", "0" * 16 if method == "DELETE" else MINE[:16])
            filled = re.sub(r"\{[a-z_]+(:path)?\}", "x", filled)
            headers = {"authorization": f"Bearer {caller.credential}"} if caller.credential else {}
            answer = await ask(
                gateway.app, method, filled, query="uid=u&expires_in_seconds=9", headers=headers
            )
            said, expected = _said(route, answer), _verdict(rule, route, caller)
            if answer.status == 500 or said != expected:
                wrong.append(
                    (route, caller.name, f"expected {expected}", said, answer.status, answer.body[:90])
                )
            counts[said] += 1
    assert not wrong, "\n".join(map(str, wrong))
    assert all(counts[said] > 30 for said in ("unknown", "forbidden", "missing", "served")), dict(counts)


def _methods(route: APIRoute | Route) -> set[str]:
    """Without the HEAD that comes with GET."""
    methods = set(route.methods or ())
    return methods - {"HEAD"} if "GET" in methods else methods


def test_every_route_of_the_app_has_an_entry_and_every_entry_a_route(tmp_path):
    app = create_app(GatewaySettings(api_keys=("k",), blob_url=str(tmp_path)))
    routes = set()
    for context in iter_route_contexts(app.routes):
        route = getattr(context, "original_route", context)
        if isinstance(route, APIRoute | Route):
            routes |= {f"{method} {context.path}" for method in _methods(route)}
        elif not isinstance(route, APIWebSocketRoute):
            assert context.path in ("/app", "/static-offline-docs"), "files that anyone may read"
    assert routes == set(ROUTES)
    assert routes == set(AUDITED), "decide in api_gateway/audit_table.py whether the audit log notes it"


# --- live protocols ---------------------------------------------------------------------------------

REFUSALS = {401, 403, 1008, 3000, 4001}
"""HTTP statuses and close codes of a refused caller; the session isn't opened."""


async def test_every_live_protocol_answers_every_caller_as_the_table_says(gateway):
    callers = await gateway.callers()
    wrong, counts = [], defaultdict(int)
    for door in DOORS:
        if not isinstance(door, WebSocketDoor):
            continue
        rule = door_rule(door.name)
        for path in door.paths:
            for caller in callers:
                headers = {"authorization": f"Bearer {caller.credential}"} if caller.credential else {}
                filled = path.replace("{key}", caller.credential or "none")
                query = "sample_rate=16000&intent=transcription&uid=u"
                answer = await connect(gateway.app, filled, query=query, headers=headers)
                refused = (answer.status or answer.close) in REFUSALS
                expected = _verdict(rule, path, caller) != "served"
                if refused != expected:
                    wrong.append((door.name, path, caller.name, f"expected refused={expected}", answer))
                counts[refused] += 1
    assert wrong == []
    assert min(counts[True], counts[False]) > 30


async def test_an_upload_ends_when_its_key_is_revoked(gateway):
    keys = gateway.services.access.ring.keys
    _, secret = await keys.create(KeyRequest("doomed", MINE, "", (Scope.JOBS, Scope.OMI)))
    headers = {"authorization": f"Bearer {secret}", "content-type": "application/json"}
    uploads = [
        asyncio.create_task(
            ask(gateway.app, "POST", path, query="uid=u", headers=headers, body=b"{", endless=True)
        )
        for path in ("/v1/stt/jobs", "/streaming")
    ]
    async with asyncio.timeout(600):
        while len(gateway.services.access.ring.watches) < len(uploads):
            assert not any(upload.done() for upload in uploads)
            await asyncio.sleep(0.01)
        await keys.revoke(secret.split("_")[1])
        answers = await asyncio.gather(*uploads)
    assert [answer.status for answer in answers] == [401, 401]
    assert all(b"was revoked" in answer.body for answer in answers)


async def test_the_route_to_the_keys_refuses_what_it_must_not_make(gateway):
    admin = {"authorization": "Bearer configured"}

    async def post(path: str, body: bytes, headers=admin) -> Answered:
        return await ask(gateway.app, "POST", path, headers=headers, body=body)

    for body in (
        b"{}",
        b'{"name":"a","scopes":[]}',
        b'{"name":"a","scopes":["root"]}',
        b'{"name":"","scopes":["live"]}',
        b'{"name":"a\\nb","scopes":["live"]}',
        b'{"name":"a","scopes":["live"],"digest":"x"}',
        b'{"name":"a","scopes":["live"],"expires_at":"2020-01-01"}',
    ):
        assert (await post("/v1/keys", body)).status == 422, body
    for body in (
        b'{"name":"a","scopes":["live"],"doors":["nowhere"]}',
        b'{"name":"a","scopes":["live"],"expires_at":"2020-01-01T00:00:00Z"}',
        b"{",
    ):
        assert (await post("/v1/keys", body)).status == 400, body
    assert (await post("/v1/tokens", b'{"scopes":["admin"]}')).status == 403
    assert (await post("/v1/tokens", b'{"scopes":["live"],"seconds":3601}')).status == 422
    assert (await post("/v1/tokens", b'{"scopes":["jobs"],"sessions":1}')).status == 400
    [reader] = [caller for caller in await gateway.callers() if caller.name == "only read"]
    headers = {"authorization": f"Bearer {reader.credential}"}
    assert (await post("/v1/tokens", b'{"scopes":["read","jobs"]}', headers)).status == 403
    assert (await post("/v1/tokens", b'{"scopes":["read"]}', headers)).status == 201


async def test_a_new_secret_is_not_lost_if_redis_fails_right_after_it_is_stored(gateway, monkeypatch):
    admin = {"authorization": "Bearer configured"}

    async def fails(self):
        raise UnavailableError("Redis can't be reached")

    monkeypatch.setattr(KeyRing, "read", fails)
    body = b'{"name":"a","scopes":["live"]}'
    made = json.loads((await ask(gateway.app, "POST", "/v1/keys", headers=admin, body=body)).body)
    assert made["key"].startswith(f"pk_{made['id']}_")
    path = f"/v1/keys/{made['id']}"
    rotated = await ask(gateway.app, "POST", f"{path}/rotate", headers=admin, body=b"{}")
    assert json.loads(rotated.body)["key"].startswith(f"pk_{made['id']}_")
    revoked = await ask(gateway.app, "DELETE", path, headers=admin)
    assert json.loads(revoked.body)["status"] == "revoked"
