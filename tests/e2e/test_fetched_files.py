"""Files that a worker fetches from a URL are limited as uploads are."""

import functools
import http.server
import threading
from contextlib import contextmanager

import httpx
import pytest

from support.cluster import Cluster
from support.jobs import wait, wav
from support.perfect import PERFECT, script, speak

ADMIN = {"Authorization": "Bearer alpha"}
MB = 1 << 20


@contextmanager
def folder_served(folder):
    """The URL of a folder's files."""
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def cluster():
    fetching = {"ALLOW_URL_FETCH": "1", "ALLOW_PRIVATE_URLS": "1", "MAX_UPLOAD_MB": "3"}
    with Cluster(transcribers=1, processors=1, API_KEYS="alpha", **fetching, **PERFECT) as running:
        yield running


def test_the_limit_of_a_key_is_one_of_fetched_files_too(cluster, tmp_path):
    base = cluster.http()
    body = {"name": "small", "owner": "fetching", "scopes": ["jobs", "read"], "limits": {"upload_mb": 1}}
    key = httpx.post(f"{base}/v1/keys", json=body, headers=ADMIN).json()["key"]
    (tmp_path / "small.wav").write_bytes(wav(speak(3)))
    for name, size in (("big", 2 * MB), ("huge", 4 * MB)):
        content = wav(speak(3))
        (tmp_path / f"{name}.wav").write_bytes(content + bytes(size - len(content)))

    with folder_served(tmp_path) as files:
        for secret, name, error in (
            (key, "small", None),
            (key, "big", "The URL has more than 1 MB (`upload_mb` of the key or owner)"),
            ("alpha", "big", None),
            ("alpha", "huge", "The URL has more than 3 MB (MAX_UPLOAD_MB)"),
        ):
            headers, url = {"Authorization": f"Bearer {secret}"}, {"url": f"{files}/{name}.wav"}
            job = httpx.post(f"{base}/v1/stt/jobs", json=url, headers=headers).json()["job_id"]
            done = wait(base, job, key=secret)
            assert (done["error"] or {}).get("message") == error, (secret, name)
            heard = httpx.post(f"{base}/v1/listen", json=url, headers=headers)
            assert heard.status_code == (400 if error else 200), heard.text
            if error:
                assert error in heard.text
            else:
                assert done["result"]["text"].split() == script(0, 3)
    assert not list(cluster.blobs.rglob("jobs/*"))
