"""A language may be written in many ways at every door that takes one.

The engine mishears German unless it is told German or nothing: so what it hears shows what it was told.
"""

import httpx
import numpy as np
import pytest

from api_gateway.doors.table import DOORS
from support import dialects
from support.cluster import Cluster
from support.jobs import wav
from support.perfect import silence, speak
from support.polyglot import WIDE, number, text
from support.ports import free_port

GERMAN = np.concatenate([speak(4, first=number("de", 0)), silence(1)])
HEARD = text("de", 0, 4)


def misheard(language: str) -> str:
    """What the engine hears if it is told this language."""
    return " ".join(f"{language}-{word}" for word in HEARD.split())


NAMES = {
    "deu": HEARD,
    "ger": HEARD,
    "German": HEARD,
    "DE-at": HEARD,
    "deu_Latn": HEARD,
    "auto": HEARD,
    "und": HEARD,
    "fre": misheard("fr"),
    "fr-CA": misheard("fr"),
    "nb": misheard("no"),
    "iw": misheard("he"),
    "fil": misheard("tl"),
}
TAKE_A_LANGUAGE = {
    **dialects.LIVE,
    **dialects.FILES,
    "native-start": dialects.native_start,
    "native-config": dialects.native_config,
    "whisper.cpp": dialects.inference,
}
OWN_TESTS = {"deepgram-flux", "twilio"}
"""Doors whose languages their own tests check."""


@pytest.fixture(scope="module")
def cluster():
    port = free_port()
    with Cluster(transcribers=2, processors=1, WYOMING_PORT=str(port), **WIDE) as cluster:
        cluster.wyoming_port = port
        yield cluster


@pytest.mark.parametrize("door", TAKE_A_LANGUAGE)
async def test_every_door_knows_every_spelling(cluster, door):
    heard = {}
    for name in NAMES:
        heard[name] = await TAKE_A_LANGUAGE[door](cluster, GERMAN, name)
    assert heard == NAMES


def test_among_languages_too(cluster):
    for name, code in (("deu", "de"), ("fre, English", "fr"), ("und", "de")):
        answer = httpx.post(
            f"{cluster.http()}/v1/detect-language",
            files={"file": ("a.wav", wav(GERMAN))},
            data={"language": name},
        )
        assert answer.json()["language_code"] == code


def test_no_door_is_forgotten():
    assert {door.name for door in DOORS} - set(TAKE_A_LANGUAGE) <= OWN_TESTS
