"""The archive: whose a document is, where it lies, and what any name becomes."""

import json
import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from obstore.store import LocalStore

from api_gateway.deliveries.archive import Archive
from api_gateway.deliveries.archive_paths import MAX_BYTES, document_path, segment, user_folder
from parlando.ids import fingerprint

ALPHA, BETA = fingerprint("alpha")[:16], fingerprint("beta")[:16]
DAY_MS = 86_400_000
NOON = 20_000 * DAY_MS + DAY_MS // 2  # of 2024-10-04
NAMES = st.text(min_size=1, max_size=400)


@pytest.fixture
def archive(tmp_path):
    return Archive(LocalStore(tmp_path))


def document(owner: str, text: str, *, uid: str = "bob", sid: str = "standup", started_ms: int = NOON):
    return {"owner": owner, "uid": uid, "session_id": sid, "started_ms": started_ms, "text": text}


async def texts(archive: Archive, owner: str, *, uid: str = "bob", until_ms: int = NOON + 99 * DAY_MS):
    return [found["text"] async for found in archive.newest_first(uid, owner=owner, until_ms=until_ms)]


async def test_no_key_overwrites_or_reads_or_deletes_what_another_wrote(archive):
    """The same user, the same session id, the same day."""
    await archive.put(document(ALPHA, "alpha's"))
    await archive.put(document(BETA, "beta's"))
    await archive.put(document("", "without a key"))

    assert await texts(archive, ALPHA) == ["alpha's"]
    assert await texts(archive, BETA) == ["beta's"]
    assert await texts(archive, "") == ["without a key"]
    assert await archive.delete("bob", owner=BETA) == 1
    assert await texts(archive, ALPHA) == ["alpha's"]


async def test_documents_at_old_paths_are_read_by_the_owner_that_they_name(archive, tmp_path):
    def old(day: str, name: str, content: object) -> None:
        folder = tmp_path / "bob" / day
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))

    old("2024/10/03", "s_1", document(ALPHA, "first", sid="s_1", started_ms=NOON - DAY_MS))
    old("2024/10/04", "s_2", document(BETA, "beta's", sid="s_2"))
    old("2024/10/04", "s_3", {"text": "of nobody"})
    old("2024/10/04", "s_4", "{broken")
    await archive.put(document(ALPHA, "second"))
    await archive.put(document(ALPHA, "third", started_ms=NOON + 400 * DAY_MS))
    old("2025/12/01", "s_5", document(ALPHA, "fourth", sid="s_5", started_ms=NOON + 423 * DAY_MS))
    last = NOON + 999 * DAY_MS

    assert await texts(archive, ALPHA, until_ms=last) == ["fourth", "third", "second", "first"]
    assert await texts(archive, ALPHA, until_ms=NOON) == ["second", "first"]
    assert await texts(archive, BETA, until_ms=last) == ["beta's"]
    assert await archive.delete("bob", owner=ALPHA) == 4
    assert await texts(archive, ALPHA, until_ms=last) == []
    assert await texts(archive, BETA, until_ms=last) == ["beta's"]


@pytest.mark.parametrize("uid", ["../../etc", "a/b", "..", "x" * 300, "nul\0", "ü" * 200, "a b\n%2F"])
async def test_any_user_and_session_can_be_archived(archive, tmp_path, uid):
    await archive.put(document(ALPHA, "here", uid=uid, sid=uid))
    [written] = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written.is_relative_to(tmp_path / f"owner={ALPHA}")
    assert len(written.relative_to(tmp_path).parts) == 6
    assert await texts(archive, ALPHA, uid=uid) == ["here"]


def test_usual_names_stay_readable():
    path = document_path(ALPHA, "anna_1-x", "2026/11/24", "s_01ab.c:d")
    assert path == f"owner={ALPHA}/uid=anna_1-x/2026/11/24/s_01ab.c:d.json"
    assert user_folder("", "anna") == "owner=none/uid=anna"


@given(NAMES, NAMES)
@settings(max_examples=300)
def test_different_names_are_different_segments(one, other):
    assert (segment(one) == segment(other)) == (one == other)
    for name in (one, other):
        assert 0 < len(segment(name).encode()) <= MAX_BYTES
        assert set(segment(name)) <= set(string.ascii_letters + string.digits + "_.:-=")
        assert not segment(name).startswith(".")
