"""The same words at every door: with real speech, and with sessions of all dialects at once."""

import asyncio

import numpy as np
import pytest

from support import dialects
from support.cluster import Cluster
from support.perfect import PERFECT, script, silence, speak
from support.ports import free_port
from support.speech import JFK, load


@pytest.fixture(scope="module")
def cluster():
    port = free_port()
    with Cluster(transcribers=1, processors=1, WYOMING_PORT=str(port), PARTIAL_CADENCE="fixed") as cluster:
        cluster.wyoming_port = port
        yield cluster


@pytest.fixture(scope="module")
def native(cluster) -> str:
    """What the native protocol hears."""
    text = asyncio.run(dialects.native(cluster, load(JFK), "en"))
    assert len(text.split()) > 15
    return text


@pytest.mark.parametrize("door", sorted(set(dialects.LIVE) - {"native"}))
async def test_a_live_door_hears_what_the_native_one_hears(cluster, native, door):
    assert await dialects.LIVE[door](cluster, load(JFK), "en") == native


async def test_all_routes_for_files_hear_the_same(cluster):
    texts = {name: await hear(cluster, load(JFK), "en") for name, hear in dialects.FILES.items()}
    assert len({" ".join(text.split()) for text in texts.values()}) == 1, texts


async def test_sessions_of_all_dialects_at_once():
    """Each hears its own words, and nobody else's."""
    port = free_port()
    with Cluster(transcribers=2, processors=1, WYOMING_PORT=str(port), **PERFECT) as cluster:
        cluster.wyoming_port = port
        hears = {**dialects.LIVE, **dialects.FILES}
        said = {
            name: np.concatenate([speak(5, first=place), silence(1), speak(5, first=place + 5)])
            for name, place in zip(hears, range(0, 2000, 100), strict=False)
        }
        texts = await asyncio.gather(*(hear(cluster, said[name], "en") for name, hear in hears.items()))
    expected = {name: script(100 * place, 10) for place, name in enumerate(hears)}
    assert {name: text.split() for name, text in zip(hears, texts, strict=True)} == expected
