"""Sessions in languages that are detected, allowed, named or translated."""

import numpy as np
import pytest

from parlando import vad
from parlando.domain.commands import Configure
from parlando.errors import EngineError
from support.in_process import recognise, with_takeovers
from support.perfect import PerfectEngine, script, silence, speak
from support.polyglot import UNCLEAR, PolyglotEngine, english, number, text

PAUSE = silence(0.8)
WORDS = 6  # of a segment: three seconds


def said(*segments: tuple[str, int], count: int = WORDS) -> np.ndarray:
    """The audio of segments, each of a language and its first word."""
    return np.concatenate(
        [
            part
            for language, first in segments
            for part in (speak(count, first=number(language, first)), PAUSE)
        ]
    )


async def listen(pcm: np.ndarray, engine: PerfectEngine, **options):
    return await recognise(pcm, engine, vad.load("rms"), **options)


def finals(session_log) -> list[tuple[str, str]]:
    """Language and text of the finals with words."""
    return [(e["language"], e["text"]) for e in session_log.events if e["type"] == "final" and e["text"]]


def changes(session_log) -> list[tuple[str, bool]]:
    return [(e["language"], e["locked"]) for e in session_log.events if e["type"] == "language"]


async def test_the_language_is_detected_then_locked():
    engine = PolyglotEngine()

    session_log = await listen(said(("de", 0), ("de", 10), ("de", 20)), engine)

    assert finals(session_log) == [("de", text("de", first, WORDS)) for first in (0, 10, 20)]
    assert changes(session_log) == [("de", True)]
    kinds = [event["type"] for event in session_log.events if event["type"] in ("final", "language")]
    assert kinds == ["final", "final", "language", "final"]
    seqs = [event["seq"] for event in session_log.events if "seq" in event]
    assert seqs == sorted(set(seqs)), "it is a kept event"
    third = engine.windows[-2:]
    assert {window.language for window in third} == {"de"}
    partials = [event for event in session_log.events if event["type"] == "partial"]
    assert {event["language"] for event in partials} == {"de"}


async def test_a_segment_keeps_its_language_once_it_is_trusted():
    """The last words are in another language, and a window that detects would follow them."""
    pcm = np.r_[speak(4, first=number("de", 0)), speak(2, first=number("fr", 0)), PAUSE]

    session_log = await listen(pcm, PolyglotEngine())

    assert {event["language"] for event in session_log.events if event["type"] == "partial"} == {"de"}
    assert [language for language, _ in finals(session_log)] == ["de"]


async def test_a_guess_is_used_and_does_not_lock():
    session_log = await listen(said(*[("fr", UNCLEAR + 10 * at) for at in range(3)]), PolyglotEngine())

    assert finals(session_log) == [("fr", text("fr", UNCLEAR + 10 * at, WORDS)) for at in range(3)]
    assert changes(session_log) == []


async def test_only_allowed_languages_are_detected():
    engine = PolyglotEngine()

    session_log = await listen(said(("fr", 0), ("de", 0), ("de", 10)), engine, language="en,de")

    assert {window.languages for window in engine.windows} == {("en", "de")}
    assert [language for language, _ in finals(session_log)] == ["en", "de", "de"]
    assert changes(session_log) == [("de", True)]


async def test_a_named_language_is_given_to_every_window():
    engine = PolyglotEngine()

    session_log = await listen(said(("de", 0), ("fr", 0)), engine, language="de")

    assert {window.language for window in engine.windows} == {"de"}
    assert [language for language, _ in finals(session_log)] == ["de", "de"]
    assert changes(session_log) == []


async def test_another_language_is_noticed_although_one_is_locked():
    """Its first segment has low confidence in the locked language: it is checked, and decoded anew."""
    engine = PolyglotEngine()

    session_log = await listen(said(("de", 0), ("de", 10), ("fr", 0), ("fr", 10), ("fr", 20)), engine)

    assert finals(session_log) == [
        *[("de", text("de", first, WORDS)) for first in (0, 10)],
        *[("fr", text("fr", first, WORDS)) for first in (0, 10, 20)],
    ]
    assert changes(session_log) == [("de", True), ("fr", False), ("fr", True)]
    assert sum(window.task == "detect_language" for window in engine.windows) == 1


async def test_a_lock_that_two_doubtful_finals_end():
    """The language of the unclear segments can't be found, so the next ones are detected again."""
    unclear = [("fr", UNCLEAR), ("fr", UNCLEAR + 10)]

    session_log = await listen(said(("de", 0), ("de", 10), *unclear, ("fr", 0)), PolyglotEngine())

    assert changes(session_log) == [("de", True), ("de", False)]
    assert finals(session_log)[-1] == ("fr", text("fr", 0, WORDS))


@pytest.mark.parametrize("every", [2, 5, 11])
async def test_a_new_owner_knows_the_language(every):
    pcm = said(("de", 0), ("de", 10), ("de", 20), ("de", 30), ("fr", 0))
    engine, undisturbed = PolyglotEngine(), await listen(pcm, PolyglotEngine())

    session_log = await with_takeovers(pcm, engine, vad.load("rms"), every=every)

    assert finals(session_log) == finals(undisturbed)
    assert changes(session_log) == changes(undisturbed) == [("de", True), ("fr", False)]


async def test_other_allowed_languages_hold_from_their_place_on():
    pcm = said(("fr", 0), ("fr", 10))
    place = len(pcm) // 2
    change = {place: Configure(changes={"language": "fr,de"})}

    session_log = await listen(pcm, PolyglotEngine(), language="en", controls=change)

    assert [language for language, _ in finals(session_log)] == ["en", "fr"]


async def test_an_engine_that_does_not_say_how_sure_it_is_changes_nothing():
    session_log = await listen(np.r_[speak(6), PAUSE, speak(6, first=6), PAUSE], PerfectEngine())

    assert [words.split() for _, words in finals(session_log)] == [script(0, 6), script(6, 6)]
    assert changes(session_log) == []


# --- translation ----------------------------------------------------------------------------------------


async def test_a_translated_session_is_in_english_and_says_what_was_spoken():
    session_log = await listen(said(("de", 0), ("fr", 0)), PolyglotEngine(), task="translate")

    assert finals(session_log) == [("de", english("de", 0, WORDS)), ("fr", english("fr", 0, WORDS))]
    last = {event["segment"]: event for event in session_log.events if event["type"] == "partial"}
    assert [(event["language"], event["text"]) for event in last.values()] == finals(session_log)


async def test_translations_stand_beside_the_original():
    engine = PolyglotEngine()

    session_log = await listen(said(("de", 0), ("en", 0)), engine, translations="en")

    assert finals(session_log) == [("de", text("de", 0, WORDS)), ("en", text("en", 0, WORDS))]
    german, original = [e for e in session_log.events if e["type"] == "final"]
    assert german["translations"] == {"en": english("de", 0, WORDS)}
    assert original["translations"] is None
    [window] = [window for window in engine.windows if window.task == "translate"]
    assert (window.final, window.language) == (True, "de")


async def test_a_translation_that_fails_costs_nothing_else():
    class OnlyTranscribes(PolyglotEngine):
        def transcribe(self, windows):
            if any(window.task == "translate" for window in windows):
                raise EngineError("no English today")
            return super().transcribe(windows)

    session_log = await listen(said(("de", 0)), OnlyTranscribes(), translations="en")

    [final] = [event for event in session_log.events if event["type"] == "final"]
    assert (final["text"], final["translations"]) == (text("de", 0, WORDS), None)


async def test_a_segment_ends_where_the_task_changes():
    pcm = np.r_[speak(12, first=number("de", 0)), PAUSE]
    change = {6 * 8000: Configure(changes={"task": "translate"})}

    session_log = await listen(pcm, PolyglotEngine(), language="de", controls=change)

    assert finals(session_log) == [("de", text("de", 0, 6)), ("de", english("de", 6, 6))]


async def test_hotwords_and_prompt_reach_every_window():
    engine = PolyglotEngine()

    await listen(said(("de", 0)), engine, hotwords="Parlando, Kokoro", prompt="A talk.")

    assert {(window.hotwords, window.prompt) for window in engine.windows} == {
        ("Parlando, Kokoro", "A talk.")
    }
