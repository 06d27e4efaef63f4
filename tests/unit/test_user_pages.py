"""A user's transcripts are paged without a gap and without a repeat, also if several began in one
millisecond."""

from types import SimpleNamespace

import pytest

from api_gateway.http import users


def _document(ms: int, sid: str) -> dict:
    return {"started_ms": ms, "session_id": sid, "segments": [], "text": ""}


REDIS = [_document(2000, sid) for sid in "abc"] + [_document(1000, "d")]
ARCHIVE = [_document(2000, sid) for sid in "cef"] + [_document(1000, sid) for sid in "gh"]


@pytest.fixture
def services(monkeypatch):
    async def newest_sessions(history, key, uid, *, since_ms, until, limit):
        found = [d for d in REDIS if d["started_ms"] >= since_ms and users.place_of(d) < until]
        return sorted(found, key=users.place_of, reverse=True)[:limit]

    class Archive:
        async def newest_first(self, uid, *, owner, until_ms):
            for document in sorted(ARCHIVE, key=users.place_of, reverse=True):
                if document["started_ms"] <= until_ms:
                    yield document

    monkeypatch.setattr(users, "newest_sessions", newest_sessions)
    return SimpleNamespace(history=None, archive=Archive())


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 8])
async def test_every_transcript_is_on_one_page(services, limit):
    until, seen = (10**15, ""), []
    while page := await users._page(services, "k", "u", since_ms=0, until=until, limit=limit):
        seen += [document["session_id"] for document in page]
        until = users.place_of(page[-1])
    assert seen == ["f", "e", "c", "b", "a", "h", "g", "d"]
