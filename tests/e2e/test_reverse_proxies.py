"""The examples in deploy/proxy: accepted by nginx and Caddy, and used between clients and a gateway."""

import asyncio
import json
import re
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
import pytest

from parlando.client import connect
from support.cluster import Cluster
from support.debian import program
from support.jobs import wait, wav
from support.perfect import PERFECT, script, silence, speak
from support.ports import free_port
from support.tls import certificate

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "deploy" / "proxy"
NAME = "captions.example.com"
KEY = {"Authorization": "Bearer one"}
TUS = {"Tus-Resumable": "1.0.0", **KEY}
MB = 1 << 20
AWAY = "127.0.0.9"
"""An address of this machine that isn't in MONITOR_NETWORKS."""


@dataclass
class Proxy:
    """A running reverse proxy with TLS."""

    port: int
    certificate: Path
    redirecting: int | None
    """The port for plain HTTP, if it has one."""

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}"

    def client(self, source: str = "127.0.0.1") -> httpx.Client:
        context = ssl.create_default_context(cafile=self.certificate)
        transport = httpx.HTTPTransport(verify=context, local_address=source)
        return httpx.Client(transport=transport, base_url=self.url)


def changed(text: str, *changes: tuple[str, str]) -> str:
    """The example with other addresses, each of which it has once."""
    for old, new in changes:
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return text


def nginx_config(folder: Path, gateway: int, port: int, plain: int) -> Path:
    """nginx's main file, with the example changed to ports of this machine."""
    pem, key = certificate(folder)
    example = changed(
        (EXAMPLES / "nginx.conf").read_text(),
        ("listen 80;", f"listen 127.0.0.1:{plain};"),
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("/etc/ssl/captions.pem", str(pem)),
        ("/etc/ssl/captions.key", str(key)),
        ("127.0.0.1:8000", f"127.0.0.1:{gateway}"),
    )
    (folder / "parlando.conf").write_text(example)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    places = "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)
    main = folder / "nginx.conf"
    main.write_text(
        f"daemon off;\nmaster_process off;\npid {folder}/pid;\nerror_log {folder}/log;\nevents {{}}\n"
        f"http {{\naccess_log {folder}/access;\n{places}include {folder}/parlando.conf;\n}}\n"
    )
    return main


def caddy_config(folder: Path, gateway: int, port: int) -> Path:
    """The example changed to ports of this machine, with a certificate of its own."""
    pem, key = certificate(folder)
    example = changed(
        (EXAMPLES / "Caddyfile").read_text(),
        (f"{NAME} {{", f"https://127.0.0.1:{port} {{\n\tbind 127.0.0.1\n\ttls {pem} {key}"),
        ("127.0.0.1:8000", f"127.0.0.1:{gateway}"),
    )
    file = folder / "Caddyfile"
    file.write_text(f"{{\n\tadmin off\n\tauto_https disable_redirects\n}}\n{example}")
    return file


@contextmanager
def running(command: list[str | Path], folder: Path, proxy: Proxy) -> Iterator[Proxy]:
    """Run it until it answers, and then until the end of the context."""
    log = folder / "output"
    with log.open("wb") as out:
        environment = {"HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
        process = subprocess.Popen(command, stdout=out, stderr=out, env=environment)
    try:
        with proxy.client() as client:
            while True:
                assert process.poll() is None, log.read_text()
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    time.sleep(0.05)
        yield proxy
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(processors=1, API_KEYS="one", MONITOR_NETWORKS="127.0.0.1/32", **PERFECT) as cluster:
        yield cluster


@pytest.fixture(scope="module", params=["nginx", "caddy"])
def proxy(request, cluster, tmp_path_factory):
    """nginx or Caddy, with the example, in front of the gateway."""
    folder, port = tmp_path_factory.mktemp(request.param), free_port()
    if request.param == "nginx":
        plain = free_port()
        main = nginx_config(folder, cluster.ports[0], port, plain)
        command = [program("nginx", "nginx", "nginx-light"), "-p", folder, "-c", main]
    else:
        plain = None
        file = caddy_config(folder, cluster.ports[0], port)
        command = [program("caddy", "caddy"), "run", "--adapter", "caddyfile", "--config", file]
    with running(command, folder, Proxy(port, folder / "certificate.pem", plain)) as proxy:
        yield proxy


def test_nginx_accepts_the_example(tmp_path):
    nginx = program("nginx", "nginx", "nginx-light")
    main = nginx_config(tmp_path, 8000, 8443, 8080)
    command = [nginx, "-t", "-p", tmp_path, "-c", main]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr
    main.write_text(main.read_text().replace("http {", "http {\nproxy_bufering off;"))
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_caddy_accepts_the_example_as_it_is(tmp_path):
    caddy = program("caddy", "caddy")
    environment = {"HOME": str(tmp_path), "XDG_DATA_HOME": str(tmp_path)}

    def validated(file: Path) -> subprocess.CompletedProcess[str]:
        command = [caddy, "validate", "--adapter", "caddyfile", "--config", file]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)

    done = validated(EXAMPLES / "Caddyfile")
    assert done.returncode == 0, done.stderr
    assert "Valid configuration" in done.stdout + done.stderr
    wrong = tmp_path / "Caddyfile"
    wrong.write_text((EXAMPLES / "Caddyfile").read_text().replace("flush_interval", "flush_intervall"))
    assert validated(wrong).returncode != 0


async def test_captions_reach_the_speaker_and_a_reader_of_events_while_the_session_is_open(
    proxy, monkeypatch
):
    """By WebSocket and by server-sent events; a proxy that buffers would keep the latter until the end."""
    monkeypatch.setenv("SSL_CERT_FILE", str(proxy.certificate))
    context = ssl.create_default_context(cafile=proxy.certificate)
    name = f"through-{proxy.port}"
    async with (
        asyncio.timeout(600),
        connect(proxy.url.replace("https", "wss", 1), api_key="one", session_id=name) as session,
        httpx.AsyncClient(base_url=proxy.url, headers=KEY, verify=context) as client,
    ):
        await session.send(np.concatenate([speak(4), silence(2)]).tobytes())
        async for event in session:
            if event["type"] == "final":
                break
        address = f"/v1/stt/sessions/{name}/events"
        async with client.stream("GET", address) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.aiter_lines():
                if line.startswith("data:") and json.loads(line[5:])["type"] == "final":
                    read = json.loads(line[5:])
                    break
        assert read["text"] == event["text"] == " ".join(script(0, 4))
        link = await client.post(f"/v1/stt/sessions/{name}/viewers")
        assert link.json()["url"].startswith(f"{proxy.url}/watch/"), "the gateway knows that it is https"
        await session.send(speak(2, first=4).tobytes())
        await session.end()
        rest = [each["text"] async for each in session if each["type"] == "final"]
    assert " ".join(rest).split() == script(4, 2)


def test_an_upload_reaches_the_blob_store_while_it_is_sent(proxy, cluster):
    """A proxy that buffers would pass nothing on before the body's end."""
    recording = wav(np.concatenate([speak(3), silence(300)]))
    before = stored(cluster)

    def body() -> Iterator[bytes]:
        yield recording[: 6 * MB]
        deadline = time.monotonic() + 120
        while stored(cluster) - before < MB:
            assert time.monotonic() < deadline, "nothing has arrived: the proxy keeps the body"
            time.sleep(0.05)
        yield recording[6 * MB :]

    with proxy.client() as client:
        length = {"Upload-Length": str(len(recording))}
        address = client.post("/v1/uploads", headers={**TUS, **length}).headers["location"]
        offset = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        size = {"Content-Length": str(len(recording))}
        sent = client.patch(address, headers={**TUS, **offset, **size}, content=body())
        assert sent.status_code == 204, sent.text
        job = client.post("/v1/stt/jobs", headers=KEY, json={"upload": address.rpartition("/")[2]})
    assert job.status_code == 202, job.text
    finished = wait(cluster.http(), job.json()["job_id"], key="one")
    assert finished["status"] == "completed"


def stored(cluster: Cluster) -> int:
    """Bytes of all files of uploads and jobs."""
    return sum(file.stat().st_size for file in cluster.blobs.rglob("*") if file.is_file())


def test_the_gateway_sees_the_clients_address_and_no_client_can_pretend_another(proxy, cluster):
    """/metrics is served to MONITOR_NETWORKS without a key: to 127.0.0.1 here, but not to 127.0.0.9."""
    with proxy.client() as near, proxy.client(AWAY) as away:
        assert near.get("/metrics").status_code == 200
        assert away.get("/metrics").status_code == 401
        assert away.get("/metrics", headers=KEY).status_code == 200
        for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
            pretended = {name: "for=127.0.0.1" if name == "Forwarded" else "127.0.0.1"}
            assert away.get("/metrics", headers=pretended).status_code == 401, name


@pytest.mark.parametrize("proxy", ["nginx"], indirect=True)
def test_plain_http_is_redirected(proxy):
    answer = httpx.get(f"http://127.0.0.1:{proxy.redirecting}/watch/x?token=y")
    assert answer.status_code == 301
    assert answer.headers["location"] == "https://127.0.0.1/watch/x?token=y"


@pytest.mark.parametrize("name", ["nginx.conf", "Caddyfile"])
def test_the_document_shows_the_examples_as_they_are(name):
    text = (EXAMPLES / name).read_text()
    shown = re.findall(r"```(?:nginx)?\n(.*?)```", (ROOT / "docs/browser.md").read_text(), re.DOTALL)
    assert text[text.index("\n\n") + 2 :] in shown
