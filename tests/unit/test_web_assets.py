"""The web app's files as the gateway serves them: compressed, validated, preloaded; the service worker."""

import base64
import gzip
import hashlib
import json
import re
import shutil

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from api_gateway.http import web
from api_gateway.http.assets import Assets, preloading
from api_gateway.http.web import FOLDER

FIRST_SCREEN_BYTES = 200_000
"""What a browser may transfer until the first screen is complete: compressed, headers not counted."""


@pytest.fixture(scope="module")
def assets():
    return Assets(FOLDER)


@pytest.fixture(scope="module")
def client():
    app = FastAPI()
    web.mount(app)
    with TestClient(app) as client:
        yield client


def test_files_are_compressed_for_clients_that_take_it(client):
    plain = (FOLDER / "app.js").read_bytes()
    packed = client.get("/app/app.js", headers={"accept-encoding": "gzip"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(plain) / 1.5
    assert packed.content == plain  # the client has unpacked it
    bare = client.get("/app/app.js", headers={"accept-encoding": "identity"})
    assert "content-encoding" not in bare.headers
    assert bare.content == plain
    assert packed.headers["etag"] != bare.headers["etag"]
    assert {packed.headers["vary"], bare.headers["vary"]} == {"Accept-Encoding"}
    assert "content-encoding" not in client.get("/app/icon-512.png").headers


def test_a_client_that_has_a_file_gets_304(client):
    first = client.get("/app/style.css")
    assert first.headers["cache-control"] == "no-cache"
    for known in (first.headers["etag"], f'"x", W/{first.headers["etag"]}'):
        again = client.get("/app/style.css", headers={"if-none-match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == first.headers["etag"]
    assert client.get("/app/style.css", headers={"if-none-match": '"other"'}).status_code == 200


def test_head_has_no_body_and_other_requests_are_refused(client):
    head = client.head("/app/app.js")
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) > 0
    assert client.post("/app/app.js").status_code == 405
    for path in (
        "/app/",
        "/app/nothing.js",
        "/app/../settings.py",
        "/app/%2e%2e/app.py",
        "/app/service-worker.js",
    ):
        assert client.get(path).status_code == 404, path


def test_pages_preload_every_module_that_they_import(assets):
    for page in ("index.html", "watch.html"):
        text = assets.files[page].body.decode()
        preloaded = re.findall(r'<link rel="modulepreload" href="[./]*app/([\w-]+\.js)" />', text)
        reached = set(re.findall(r'<script type="module" src="[./]*app/([\w-]+\.js)"', text))
        for name in preloaded:
            reached |= set(re.findall(r'from "\./([\w-]+\.js)"', assets.files[name].body.decode()))
        assert len(preloaded) > 5
        assert sorted(preloaded) == sorted(reached)


def test_a_page_without_modules_stays_as_it_is():
    assert preloading("<html><head>  </head></html>", {}) == "<html><head>  </head></html>"


def test_the_first_screen_fits_its_budget(assets):
    page = assets.files["index.html"]
    names = set(re.findall(r'(?:href|src)="app/([\w.-]+)"', page.body.decode()))
    sizes = {name: len(assets.files[name].packed or assets.files[name].body) for name in names}
    total = sum(sizes.values()) + len(page.packed)
    assert "app.js" in names
    assert total < FIRST_SCREEN_BYTES, sizes


def shell_of(assets) -> tuple[str, dict[str, str]]:
    source = assets.worker.body.decode()
    version = re.match(r'const VERSION = "(\w+)";\n', source)[1]
    return version, json.loads(re.search(r"const SHELL = (\{.*?\});", source, re.DOTALL)[1])


def test_the_service_worker_names_every_file_with_its_digest(assets, client):
    _, shell = shell_of(assets)
    assert set(shell) == {"./", "watch/-"} | {
        f"app/{path.name}" for path in FOLDER.iterdir() if path.suffix not in (".html",)
    } - {"app/service-worker.js"}
    for path, digest in shell.items():
        body = client.get("/" + path.removeprefix("./")).content
        assert digest == f"sha256-{base64.b64encode(hashlib.sha256(body).digest()).decode()}", path


def test_a_changed_file_is_another_version_of_the_service_worker(assets, tmp_path):
    folder = tmp_path / "web"
    shutil.copytree(FOLDER, folder)
    same = Assets(folder)
    assert same.worker == assets.worker
    (folder / "style.css").write_bytes(gzip.decompress(assets.files["style.css"].packed) + b"\n")
    changed = Assets(folder)
    (version, shell), (after, files) = shell_of(assets), shell_of(changed)
    assert after != version
    assert [path for path in files if files[path] != shell[path]] == ["app/style.css"]


def test_the_manifest_names_icons_that_exist_and_no_path_of_the_server(assets):
    manifest = json.loads(assets.files["manifest.webmanifest"].body)
    assert (manifest["start_url"], manifest["scope"], manifest["display"]) == ("../", "../", "standalone")
    for icon in manifest["icons"]:
        body = assets.files[icon["src"]].body
        if icon["sizes"] != "any":
            width, height = (int.from_bytes(body[at : at + 4], "big") for at in (16, 20))
            assert f"{width}x{height}" == icon["sizes"]
    assert {"192x192", "512x512"} <= {icon["sizes"] for icon in manifest["icons"]}
    assert any(icon["purpose"] == "maskable" for icon in manifest["icons"])
