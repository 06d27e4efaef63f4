"""The audit log: what it notes, who reads it, and that an answered request has its entry."""

import json

import pytest

from parlando.domain.access import Scope
from parlando.ids import fingerprint
from parlando.store.api_keys import KeyRequest
from parlando.store.audit import AUDIT, AuditEntry, AuditLog
from parlando.store.connection import connect
from support.asgi import FOREIGN
from support.asgi_gateway import MINE, SID, THEIRS, gateway_of


@pytest.fixture
async def gateway(redis_server, tmp_path):
    async with gateway_of(redis_server.url, tmp_path) as gateway:
        yield gateway


async def test_each_action_is_noted_with_who_what_and_where_from_and_without_secrets(gateway):
    made = json.loads(
        (await gateway.ask("POST", "/v1/keys", body=b'{"name":"phone","scopes":["read"]}')).body
    )
    rotated = json.loads((await gateway.ask("POST", f"/v1/keys/{made['id']}/rotate", body=b"{}")).body)
    await gateway.ask("DELETE", f"/v1/keys/{made['id']}")
    token = json.loads((await gateway.ask("POST", "/v1/tokens", gateway.mine, body=b"{}")).body)["token"]
    session = f"/v1/stt/sessions/{SID}"
    await gateway.ask("GET", f"{session}/transcript", {**gateway.mine, "x-request-id": "req-1"})
    shared = json.loads((await gateway.ask("POST", f"{session}/viewers", gateway.mine, body=b"{}")).body)
    await gateway.ask("GET", f"{session}/transcript", {"authorization": f"Bearer {shared['token']}"})
    await gateway.ask("DELETE", f"{session}/viewers/{shared['viewer_id']}", gateway.mine)
    job = await gateway.job()
    await gateway.ask("GET", f"/v1/stt/jobs/{job}", gateway.mine)  # without a result: nothing is read
    await gateway.ask("DELETE", f"/v1/stt/jobs/{job}", gateway.mine)
    await gateway.ask("DELETE", "/v1/speakers/Anna", gateway.mine)
    await gateway.ask("DELETE", "/transcripts/u1", gateway.mine)
    await gateway.ask("GET", f"{session}/transcript", gateway.theirs)
    await gateway.ask("GET", "/v1/keys", gateway.mine)

    entries = await gateway.stored()

    viewer = shared["viewer_id"]
    assert [(e["action"], e["object"], e["outcome"]) for e in entries] == [
        ("key.create", f"key:{made['id']} owner:{fingerprint('configured')[:16]} scopes:read", "ok"),
        ("key.rotate", f"key:{made['id']}", "ok"),
        ("key.revoke", f"key:{made['id']}", "ok"),
        ("token.create", "token:live seconds:60", "ok"),
        ("transcript.read", f"session:{SID}", "ok"),
        ("session.share", f"session:{SID} viewer:{viewer}", "ok"),
        ("transcript.read", f"session:{SID}", "ok"),
        ("session.unshare", f"session:{SID} viewer:{viewer}", "ok"),
        ("job.delete", f"job:{job}", "ok"),
        ("speaker.remove", "speaker:Anna", "not_found"),
        ("transcript.delete", "user:u1", "ok"),
        ("transcript.read", f"session:{SID}", "not_found"),
    ]
    assert [e["key"] for e in entries[:3]] == ["configured"] * 3
    assert {e["address"] for e in entries} == {FOREIGN}
    mine = gateway.mine["authorization"].split("_")[1]
    reading, by_viewer = entries[4], entries[6]
    assert (reading["owner"], reading["key"], reading["key_name"]) == (MINE[:16], mine, "mine")
    assert reading["request"] == "req-1"
    assert (by_viewer["owner"], by_viewer["key"]) == (MINE[:16], f"viewer:{viewer}")
    assert entries[-1]["owner"] == THEIRS[:16]
    text = b"".join(fields[b"e"] for _, fields in await gateway.redis.xrange(AUDIT)).decode()
    secrets = [made["key"], rotated["key"], token, shared["token"], "Bearer", '"configured"}']
    secrets += [headers["authorization"].split()[1] for headers in (gateway.mine, gateway.theirs)]
    assert not [secret for secret in secrets if secret in text]


async def test_nobody_without_a_key_fills_the_log_and_a_refused_key_is_noted(gateway):
    await gateway.ask("POST", "/v1/keys", {"authorization": "Bearer wrong"}, body=b"{}")
    await gateway.ask("POST", "/v1/keys", {}, body=b"{}")
    assert await gateway.stored() == []

    await gateway.ask("POST", "/v1/keys", gateway.mine, body=b"{}")
    await gateway.ask("POST", "/v1/keys", body=b"{}")

    assert [(e["owner"], e["outcome"], e["status"]) for e in await gateway.stored()] == [
        (MINE[:16], "refused", 403),
        (fingerprint("configured")[:16], "failed", 422),
    ]


async def test_an_owner_reads_its_own_entries_and_admin_those_of_all(gateway):
    for headers in (gateway.mine, gateway.theirs, gateway.mine):
        await gateway.ask("POST", "/v1/tokens", headers, body=b"{}")
        await gateway.ask("DELETE", "/v1/speakers/Anna", headers)

    own = (await gateway.read(headers=gateway.mine))["entries"]
    assert {e["owner"] for e in own} == {MINE[:16]}
    assert [e["action"] for e in own] == ["token.create", "speaker.remove"] * 2
    everything = (await gateway.read())["entries"]
    assert len([e for e in everything if e["action"] != "audit.read"]) == 6
    assert len((await gateway.read(f"owner={THEIRS[:16]}"))["entries"]) == 2
    assert [e["action"] for e in (await gateway.read("owner=me&action=audit"))["entries"]] == [
        "audit.read",
        "audit.read",
    ]
    refused = await gateway.ask("GET", "/v1/audit", gateway.mine, query=f"owner={THEIRS[:16]}")
    assert refused.status == 403
    only_live = await gateway.services.access.ring.keys.create(KeyRequest("l", MINE, "", (Scope.LIVE,)))
    await gateway.services.access.ring.read()
    refused = await gateway.ask("GET", "/v1/audit", {"authorization": f"Bearer {only_live[1]}"})
    assert refused.status == 403
    for query in ("action=nothing", "since=yesterday"):
        assert (await gateway.ask("GET", "/v1/audit", query=query)).status == 400
    for query in ("owner=x", "cursor=x", "limit=0"):
        assert (await gateway.ask("GET", "/v1/audit", query=query)).status == 422


async def test_pages_follow_each_other_and_since_and_action_select(gateway):
    for _ in range(3):
        await gateway.ask("POST", "/v1/tokens", gateway.mine, body=b"{}")
        await gateway.ask("DELETE", "/transcripts/u1", gateway.mine)

    first = await gateway.read("limit=4", gateway.mine)
    second = await gateway.read(f"limit=4&cursor={first['next']}", gateway.mine)
    assert (len(first["entries"]), first["more"]) == (4, True)
    assert [e["action"] for e in second["entries"]] == ["token.create", "transcript.delete", "audit.read"]
    assert not second["more"]
    assert (await gateway.read(f"cursor={second['next']}", gateway.mine))["entries"] == []
    since = first["entries"][2]["id"].partition("-")[0]
    later = await gateway.read(f"since={int(since) / 1000}&action=token.create", gateway.mine)
    assert {e["action"] for e in later["entries"]} == {"token.create"}
    assert len((await gateway.read("action=token", gateway.mine))["entries"]) == 3
    assert (await gateway.read("since=2099-01-01", gateway.mine))["entries"] == []


async def test_the_log_is_bounded_by_length_and_by_time(redis_server):
    redis = connect(redis_server.url)
    entry = AuditEntry(at_ms=1, owner="o", key="k", action="key.create", outcome="ok")
    log = AuditLog(redis, days=1, limit=1000)
    await redis.xadd(AUDIT, {"e": entry.model_dump_json()}, id="1000-0")  # of 1970
    await log.append([entry])
    assert await redis.xlen(AUDIT) == 1
    assert 0 < await redis.ttl(AUDIT) <= 86_400
    for _ in range(15):
        await log.append([entry] * 100)
    assert 1000 <= await redis.xlen(AUDIT) <= 1200  # streams are trimmed by whole blocks of about 100
    await redis.aclose()
