"""API keys and tokens with two gateways: revoking ends what is open; command line, clients, web app."""

import asyncio
import json
import shutil
import subprocess
import time
from pathlib import Path

import httpx
import pytest
import websockets
from typer.testing import CliRunner

from parlando.cli.app import app
from parlando.client import ClientError, JobsClient, KeysClient, connect
from parlando.ids import fingerprint
from support.accessibility import checker, problems
from support.browser import CHROMIUM, chromium, holds, opened, picture
from support.cluster import Cluster
from support.perfect import PERFECT, speak

ADMIN = {"Authorization": "Bearer alpha"}
LONG_S = 600
SDK = Path(__file__).parents[2] / "clients" / "js"


@pytest.fixture(scope="module")
def cluster():
    with Cluster(gateways=2, transcribers=1, API_KEYS="alpha,beta", **PERFECT) as running:
        yield running


def bearer(secret: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {secret}"}


async def made(cluster, *scopes: str, **more) -> dict:
    async with KeysClient(cluster.http(), api_key="alpha") as keys:
        return await keys.create("test", scopes=scopes, **more)


async def revoke(cluster, key: dict) -> None:
    async with KeysClient(cluster.http(), api_key="alpha") as keys:
        await keys.revoke(key["id"])


# --- revoking ---------------------------------------------------------------------------------------


async def test_what_a_revoked_key_has_open_ends_on_every_gateway(cluster):
    """The issue's bound is 2 s; the test's own limit is wider, for slow machines, and the time is printed."""
    key = await made(cluster, "live", "read")
    headers = bearer(key["key"])
    async with KeysClient(cluster.http(), api_key=key["key"]) as keys:
        token = (await keys.token())["token"]
    ends: dict[str, float] = {}

    async def live(name: str, url: str, secret: str, ready: asyncio.Event) -> tuple[str, int | None]:
        async with websockets.connect(f"{url}/v1/stt/stream", additional_headers=bearer(secret)) as socket:
            said = json.loads(await socket.recv())
            ready.set()
            sid = said["session_id"]
            with pytest.raises(websockets.ConnectionClosedError):
                while True:
                    said = json.loads(await socket.recv())
            ends[name] = time.monotonic()
        assert (said["type"], said["code"], said["retryable"]) == ("error", "not_allowed", False)
        assert "was revoked" in said["message"]
        return sid, socket.close_code

    async def followed(name: str, base: str, ready: asyncio.Event) -> str:
        async with (
            httpx.AsyncClient(timeout=LONG_S) as client,
            client.stream("GET", f"{base}/v1/cluster/events", headers=headers) as answer,
        ):
            last = ""
            async for line in answer.aiter_lines():
                ready.set()
                last = line if line.startswith("event: ") else last
        ends[name] = time.monotonic()
        return last

    starts = [asyncio.Event() for _ in range(4)]
    tasks = [
        asyncio.create_task(live("live, gateway 0", cluster.url(0), key["key"], starts[0])),
        asyncio.create_task(live("live, gateway 1", cluster.url(1), key["key"], starts[1])),
        asyncio.create_task(live("live by a token", cluster.url(1), token, starts[2])),
        asyncio.create_task(followed("stream", cluster.http(1), starts[3])),
    ]
    stays = await websockets.connect(f"{cluster.url(1)}/v1/stt/stream", additional_headers=bearer("alpha"))
    await stays.recv()
    async with asyncio.timeout(LONG_S):
        await asyncio.gather(*(start.wait() for start in starts))
        started = time.monotonic()
        await revoke(cluster, key)
        *lives, last = await asyncio.gather(*tasks)
    print({name: round(at - started, 3) for name, at in ends.items()})
    assert max(ends.values()) - started < 20, "ten times what is promised"
    assert [code for _, code in lives] == [1008] * 3
    assert last == "event: revoked"
    async with asyncio.timeout(LONG_S):
        for sid, _ in lives:  # the sessions end too; they belong to the owner of `alpha`
            while (await _session(cluster, sid))["state"] != "closed":
                await asyncio.sleep(0.05)
    for base in (cluster.http(0), cluster.http(1)):
        for secret in (key["key"], token):
            assert httpx.get(f"{base}/v1/models", headers=bearer(secret)).status_code == 401
    await stays.send('{"type":"ping"}')
    assert json.loads(await stays.recv())["type"] == "pong"
    await stays.close()


async def _session(cluster, sid: str) -> dict:
    async with httpx.AsyncClient(timeout=LONG_S) as client:
        return (await client.get(f"{cluster.http()}/v1/stt/sessions/{sid}", headers=ADMIN)).json()


async def test_what_a_key_has_made_stays_its_owners(cluster):
    """Of an owner by name after a rotation; and of a key of API_KEYS for those that it makes."""
    key = await made(cluster, "live", "read", owner="mobile team")
    async with connect(cluster.url(), api_key=key["key"]) as session:
        await session.send(speak(2).tobytes())
        await session.end()
        async for _ in session:
            pass
        path = f"/v1/stt/sessions/{session.id}"
    async with KeysClient(cluster.http(), api_key="alpha") as keys:
        rotated = await keys.rotate(key["id"])
    second = await made(cluster, "read", owner="mobile team")
    for secret, status in ((rotated["key"], 200), (second["key"], 200), (key["key"], 401), ("alpha", 404)):
        assert httpx.get(f"{cluster.http(1)}{path}", headers=bearer(secret)).status_code == status
    assert rotated["owner"] == "mobile team"

    async with connect(cluster.url(), api_key="beta") as session:
        await session.end()
        async for _ in session:
            pass
        path = f"/v1/stt/sessions/{session.id}"
    async with KeysClient(cluster.http(), api_key="beta") as keys:
        same = await keys.create("successor", scopes=["read"])
    assert same["owner"] == fingerprint("beta")[:16]
    for secret, status in ((same["key"], 200), ("beta", 200), ("alpha", 404)):
        assert httpx.get(f"{cluster.http()}{path}", headers=bearer(secret)).status_code == status


# --- tokens -----------------------------------------------------------------------------------------


async def test_a_session_token_opens_one_session_and_resumes_it(cluster):
    key = await made(cluster, "live", "read")
    async with KeysClient(cluster.http(), api_key=key["key"]) as keys:
        token = (await keys.token(sessions=1, seconds=3600))["token"]
    protocols = ["parlando", f"parlando-key.{token}"]

    async def said(url: str, **more) -> tuple[dict, websockets.ClientConnection]:
        socket = await websockets.connect(url, **more)
        return json.loads(await socket.recv()), socket

    first, socket = await said(f"{cluster.url()}/v1/stt/stream", subprotocols=protocols)
    assert first["type"] == "connected"
    await socket.close()
    refused, _ = await said(f"{cluster.url(1)}/v1/stt/stream", additional_headers=bearer(token))
    assert (refused["type"], refused["code"]) == ("error", "not_allowed")
    assert "the 1 sessions" in refused["message"]
    resume = f"token={token}&session_id={first['session_id']}&resume={first['resume_token']}"
    again, socket = await said(f"{cluster.url(1)}/v1/stt/stream?{resume}")
    assert (again["type"], again["resumed"]) == ("connected", True)
    await socket.close()
    async with KeysClient(cluster.http(), api_key=key["key"]) as keys:
        other = (await keys.token())["token"]
    steal = f"session_id={first['session_id']}&resume={'x' * 32}"
    for secret, kind in ((other, "error"), (key["key"], "connected")):
        answer, socket = await said(f"{cluster.url()}/v1/stt/stream?token={secret}&{steal}")
        assert answer["type"] == kind, "a key may, as the owner's"
        await socket.close()
    answer = httpx.get(f"{cluster.http()}/v1/stt/sessions/{first['session_id']}", headers=bearer(token))
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")


async def test_the_clients_ask_for_a_token_for_each_connection(cluster):
    issued = []

    async def fresh() -> str:
        async with KeysClient(cluster.http(), api_key="alpha") as keys:
            issued.append((await keys.token(seconds=30))["token"])
        return issued[-1]

    async with connect(cluster.url(), token=fresh) as session:
        await session.send(speak(2).tobytes())
        await session.end()
        assert [event["type"] async for event in session][-1] == "closed"
    assert len(issued) == 1
    async with JobsClient(cluster.http(), api_key=issued[0]) as jobs:
        with pytest.raises(ClientError, match="scope jobs"):
            await jobs.submit(__file__)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
def test_the_javascript_client_asks_for_a_token_for_each_connection(cluster, tmp_path):
    script = tmp_path / "token.mjs"
    script.write_text(
        f"""
        import {{ ParlandoClient }} from "{SDK.as_uri()}/parlando.js";
        const admin = new ParlandoClient("{cluster.http()}", {{ apiKey: "alpha" }});
        let issued = 0;
        const token = async () => (issued++, (await admin.keys.token({{ scopes: ["live", "read"] }})).token);
        const client = new ParlandoClient("{cluster.http()}", {{ token }});
        const session = client.live();
        session.send(new Int16Array(16000));
        const {{ type }} = await session.end();
        console.log(type, issued, (await client.transcript(session.id)).state, issued);
        """
    )
    done = subprocess.run(
        ["node", "--experimental-websocket", script],
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert done.stdout == "closed 1 closed 2\n", done.stderr


# --- the command line -------------------------------------------------------------------------------


def _run(cluster, *words: str) -> tuple[int, str, str]:
    """The status, the output and the errors of a command, in this process."""
    done = CliRunner().invoke(app, ["keys", *words, "--url", cluster.http(), "--key", "alpha"])
    failed = done.exception.reason if isinstance(done.exception, ClientError) else ""
    return done.exit_code, done.stdout, done.stderr + failed


def test_the_command_line_manages_keys(cluster, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    words = ("create", "door bell", "--scopes", "live, read", "--doors", "native", "--days", "3")
    code, out, errors = _run(cluster, *words)
    assert (code, "shown only now" in errors) == (0, True)
    secret = out.strip()
    key_id = secret.split("_")[1]
    assert httpx.get(f"{cluster.http(1)}/v1/models", headers=bearer(secret)).status_code == 200
    code, out, _ = _run(cluster, "list")
    [line] = [line for line in out.splitlines() if key_id in line]
    assert "door bell" in line
    assert "active" in line
    assert secret not in out
    _, out, _ = _run(cluster, "rotate", key_id, "--grace", "60")
    assert out.startswith(f"pk_{key_id}_")
    assert out.strip() != secret
    code, out, _ = _run(cluster, "revoke", key_id)
    assert (code, out) == (0, f"{key_id} revoked\n")
    code, out, _ = _run(cluster, "show", key_id)
    assert "status        revoked" in out
    code, _, errors = _run(cluster, "show", "0" * 12)
    assert (code, "No API key 000000000000 is known" in errors) == (1, True)
    code, out, _ = _run(cluster, "token", "--sessions", "1")
    assert (code, out.startswith("at_")) == (0, True)


# --- the web app ------------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
async def test_keys_are_made_and_revoked_in_the_web_app(cluster):
    secret = "document.getElementById('keys-secret').value"
    async with chromium() as browser, opened(browser, "about:blank") as watched:
        page = watched.page
        await page.add_init_script("localStorage.setItem('parlando.key', 'alpha')")
        await page.goto(f"{cluster.http()}/#keys")
        await page.fill("#keys-name", "<b>tablet</b>")
        await page.click("#keys-form button[type=submit]")
        await holds(page, f"{secret}.startsWith('pk_')", within=LONG_S)
        made = await page.evaluate(secret)
        assert httpx.get(f"{cluster.http(1)}/v1/models", headers=bearer(made)).status_code == 200
        await page.click("#keys-copy")
        await holds(page, "document.getElementById('keys-copy').textContent === 'Copied'", within=LONG_S)
        assert await page.evaluate("navigator.clipboard.readText()") == made
        await picture(page, "keys")
        assert await problems(watched, checker()) == []
        button = page.get_by_role("button", name="Revoke <b>tablet</b>")
        await button.click()
        await button.click()
        mine = f"document.querySelector('#keys-table tr[data-key=\"{made.split('_')[1]}\"]')"
        await holds(page, f"{mine}.cells[3].textContent === 'revoked'", within=LONG_S)
        assert httpx.get(f"{cluster.http(1)}/v1/models", headers=bearer(made)).status_code == 401
        await page.evaluate("location.hash = '#live'")
        await holds(page, f"{secret} === ''", within=LONG_S)
        assert watched.complaints == []
