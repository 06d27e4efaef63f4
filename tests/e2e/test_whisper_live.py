"""Live sessions with Whisper's own weights.

Partials are decoded at fixed samples (`PARTIAL_CADENCE`), so the texts don't depend on the machine's load.
"""

import asyncio

import pytest

from support.cluster import Cluster
from support.speech import FIXTURES, load
from support.streaming import check_promises, stream

NAMES = "533-1066-0002.flac"  # "… when I seem to remember kissing Mr. Jamieson too in the excitement"
SENTENCES = ("1688-142285-0001.flac", "61-70968-0000.flac", NAMES)


@pytest.fixture(scope="module")
def cluster():
    with Cluster(STT_ENGINE="faster-whisper", WHISPER_MODEL="tiny.en", PARTIAL_CADENCE="fixed") as cluster:
        yield cluster


async def _transcribe(cluster, name: str, **options):
    session = await stream(
        cluster.url(), load(FIXTURES / "speech" / name), frame_ms=100, speed=2, words=True, **options
    )
    check_promises(session)
    return session


@pytest.mark.parametrize("option", ["hotwords", "prompt"])
async def test_a_rare_name_is_recognised_in_the_session_that_announces_it(cluster, option):
    """Beside it, a session on the same worker that announces nothing, and one that announces other names."""
    announced, plain, other = await asyncio.gather(
        _transcribe(cluster, NAMES, **{option: "Jamieson"}),
        _transcribe(cluster, NAMES),
        _transcribe(cluster, NAMES, **{option: "Thornton"}),
    )

    assert "Jamieson" in announced.text
    for session in (plain, other):
        assert "Jameson" in session.text
        assert "Jamieson" not in session.text


async def test_words_become_stable_before_the_final_and_have_times(cluster):
    stable, settled = 0, 0
    for session in await asyncio.gather(*(_transcribe(cluster, name) for name in SENTENCES)):
        last = {event["segment"]: event["stable"] for event in session.of("partial")}
        stable += sum(len(text.split()) for text in last.values())
        settled += len(session.text.split())
        for final in session.finals:
            assert [word["word"] for word in final["words"]] == final["text"].split()
            assert all(word["start"] < word["end"] for word in final["words"])
            assert all(0 < word["confidence"] <= 1 for word in final["words"])

    assert stable >= settled / 4
