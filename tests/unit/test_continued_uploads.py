"""Jobs of files whose upload an earlier run of the program has begun."""

import json
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from parlando.client import ClientError, JobsClient


class Gateway:
    """Has complete uploads; the jobs of those in `refused` are refused with that code."""

    def __init__(self, refused: dict[str, tuple[int, str]]) -> None:
        self.created = 0
        self.refused = refused

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if request.method == "HEAD":
            return httpx.Response(200, headers={"Upload-Offset": "3"})
        if request.url.path == "/v1/uploads":
            self.created += 1
            return httpx.Response(201, headers={"Location": f"/v1/uploads/u_new{self.created}"})
        for upload, (status, code) in self.refused.items():
            if upload.encode() in request.content:
                return httpx.Response(status, json={"code": code, "detail": "no"})
        return httpx.Response(202, json={"job_id": "j"})


async def _submitted(gateway: Gateway, folder, **more):
    file = folder / "a.wav"
    file.write_bytes(b"abc")
    async with JobsClient("http://gateway", uploads=folder / "uploads") as jobs:
        await jobs._client.aclose()
        jobs._client = httpx.AsyncClient(transport=httpx.MockTransport(gateway))
        assert jobs._journal is not None
        jobs._journal.keep(file, "http://gateway/v1/uploads/u_old")
        try:
            return await jobs.submit(file, resumable_from=1, **more), jobs._journal.address(file)
        except ClientError as error:
            return error.code, jobs._journal.address(file)


@pytest.mark.parametrize(("status", "code"), [(404, "upload_not_found"), (409, "conflict")])
async def test_an_upload_that_cannot_be_used_is_begun_anew_once(tmp_path, status, code):
    gateway = Gateway({"u_old": (status, code)})
    assert await _submitted(gateway, tmp_path) == ({"job_id": "j"}, None)
    assert gateway.created == 1
    gateway = Gateway({"u_old": (status, code), "u_new": (status, code)})
    assert await _submitted(gateway, tmp_path) == (code, None)
    assert gateway.created == 1


async def test_an_idempotency_key_in_use_is_no_reason_to_upload_again(tmp_path):
    gateway = Gateway({"u_old": (409, "conflict")})
    code, kept = await _submitted(gateway, tmp_path, idempotency_key="k")
    assert (code, kept, gateway.created) == ("conflict", "http://gateway/v1/uploads/u_old", 0)


JOBS_JS = Path(__file__).parents[2] / "clients" / "js" / "jobs.js"
IN_A_PAGE = """
import { Jobs } from "%s";
const kept = new Map([["parlando-upload http://gateway a.wav 3 7", "/v1/uploads/u_old"]]);
globalThis.window = { localStorage: {
  getItem: (name) => kept.get(name) ?? null,
  setItem: (name, value) => kept.set(name, value),
  removeItem: (name) => kept.delete(name),
} };
const [refused, code] = JSON.parse(process.argv[2]);
let created = 0;
const client = { url: "http://gateway", async request(path, { method = "GET", json } = {}) {
  if (method === "HEAD") return { headers: new Headers({ "upload-offset": "3" }) };
  if (path === "/v1/uploads") return { headers: new Headers({ location: `/v1/uploads/u_new${++created}` }) };
  if (refused.some((name) => json.upload.startsWith(name))) throw Object.assign(Error(), { code });
  return { json: async () => ({ job_id: "j", upload: json.upload, words: json.words }) };
} };
const file = { name: "a.wav", size: 3, lastModified: 7, slice: () => "abc" };
const submitted = new Jobs(client).submit(file, { resumableFrom: 1, words: true });
const answer = await submitted.catch((error) => error.code);
console.log(JSON.stringify([answer, created, kept.size]));
"""


def _in_a_page(folder: Path, refused: list[str], code: str) -> list:
    """What `submit` of the JavaScript client gives in a page loaded again: [answer, uploads, notes]."""
    script = folder / "page.mjs"
    script.write_text(IN_A_PAGE % JOBS_JS)
    line = ["node", str(script), json.dumps([refused, code])]
    done = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(shutil.which("node") is None, reason="Node is not installed")
@pytest.mark.parametrize("code", ["upload_not_found", "conflict"])
def test_the_javascript_client_begins_such_an_upload_anew_once_too(tmp_path, code):
    job = {"job_id": "j", "words": True}
    assert _in_a_page(tmp_path, [], code) == [{**job, "upload": "u_old"}, 0, 0]
    assert _in_a_page(tmp_path, ["u_old"], code) == [{**job, "upload": "u_new1"}, 1, 0]
    assert _in_a_page(tmp_path, ["u_"], code) == [code, 1, 0]
    assert _in_a_page(tmp_path, ["u_"], "invalid_request") == ["invalid_request", 0, 1]
