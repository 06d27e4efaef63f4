"""What a session does when its engine fails, and what its settings change."""

from dataclasses import replace

import numpy as np

from parlando import vad
from parlando.domain.commands import Configure
from parlando.errors import EngineError
from support.in_process import recognise
from support.perfect import PerfectEngine, script, silence, speak
from transcriber.known_speakers import KnownSpeakersCache
from transcriber.pipeline import session_output
from transcriber.pipeline.stages.base import Stage


class FailsOnFinals(PerfectEngine):
    def transcribe(self, windows):
        if any(window.final for window in windows):
            raise EngineError("the weights are on fire")
        return super().transcribe(windows)


async def test_audio_on_which_the_engine_fails_is_reported_by_the_millisecond():
    session_log = await recognise(np.r_[speak(8), silence(1)], FailsOnFinals(), vad.load("rms"))

    kinds = [event["type"] for event in session_log.events if event["type"] in ("status", "final", "closed")]
    status = next(event for event in session_log.events if event["type"] == "status")
    final = next(event for event in session_log.events if event["type"] == "final")
    assert kinds == ["status", "final", "closed"]
    assert status["status"] == "lost"
    assert status["reason"] == "engine_failed"
    assert 3500 < status["ms"] < 5000
    assert final["text"].split() == script(0, len(final["text"].split())), "what was stable stays"


class Listens(Stage):
    """Notes the known voices of finals, and of the end."""

    name = "listens"

    def __init__(self) -> None:
        self.known: list[object] = []

    def is_wanted(self, config):
        return True

    async def on_final(self, segment, audio, state):
        self.known.append(audio.known)
        return segment

    async def on_end(self, sid, config, state, known=None):
        self.known.append(known)
        return ()


class Broken:
    """Stands for Redis with stored speakers that can't be read."""

    async def all(self, owner):
        raise ValueError("a speaker has no clips")


class Empty:
    async def all(self, owner):
        return []


async def test_a_session_goes_on_without_known_speakers_that_cannot_be_read():
    async def heard(store, **options) -> list[object]:
        stage, pcm = Listens(), np.r_[speak(3), silence(1)]
        config = {"stages": [stage], "known": KnownSpeakersCache(store), **options}
        session_log = await recognise(pcm, PerfectEngine(), vad.load("rms"), **config)
        assert session_log.events[-1]["type"] == "closed"
        return stage.known

    assert await heard(Broken(), diarize=True, known_speakers="true") == [None, None]
    final, end = await heard(Empty(), diarize=True, known_speakers="true")
    assert final.names == end.names == ()  # known: nobody
    assert await heard(Empty(), known_speakers="true") == [None, None]


async def test_a_config_message_holds_from_its_place_on():
    pcm = np.r_[speak(3), silence(0.8), speak(3, first=3), silence(0.8)]
    change = {3 * 8000 + 10_000: Configure(changes={"words": True, "interim": False})}

    session_log = await recognise(pcm, PerfectEngine(), vad.load("rms"), controls=change)

    first, second = [event for event in session_log.events if event["type"] == "final"]
    assert first.get("words") is None
    assert [word["word"] for word in second["words"]] == script(3, 3)
    assert {event["segment"] for event in session_log.events if event["type"] == "partial"} == {0}


async def test_the_only_speaker_has_the_name_that_the_config_gives():
    pcm = np.r_[speak(3), silence(0.8), speak(3, first=3), silence(0.8)]
    change = {3 * 8000 + 10_000: Configure(changes={"speaker": ""})}

    session_log = await recognise(pcm, PerfectEngine(), vad.load("rms"), controls=change, speaker="Guest")

    named = {"partial": set(), "final": set()}
    for event in session_log.events:
        if event["type"] in named:
            named[event["type"]].add((event["segment"], event.get("speaker")))
    assert named == {kind: {(0, "Guest"), (1, None)} for kind in named}


async def test_word_times_lie_where_the_words_are():
    pcm = np.r_[silence(1), speak(4), silence(1)]

    session_log = await recognise(pcm, PerfectEngine(), vad.load("rms"), words=True)

    [final] = [event for event in session_log.events if event["type"] == "final"]
    starts = [word["start"] for word in final["words"]]
    assert np.allclose(starts, [1.0, 1.5, 2.0, 2.5], atol=0.05)


class NeedsASecondLook(PerfectEngine):
    """Leaves out the last word of each final, until the window is given to it again."""

    def __init__(self) -> None:
        super().__init__()
        self.looks: list[bool] = []

    def transcribe(self, windows):
        found = super().transcribe(windows)
        for at, window in enumerate(windows):
            if window.final:
                self.looks.append(window.earlier is not None)
                if window.earlier is None:
                    assert len(found[at].words) > 1
                    found[at] = replace(found[at], words=found[at].words[:-1], improvable=True)
        return found


async def test_a_final_is_the_better_hypothesis_of_two_decodes():
    engine = NeedsASecondLook()
    session_log = await recognise(np.r_[speak(5, gap=1600), silence(1)], engine, vad.load("rms"))
    assert session_log.finals == [" ".join(script(0, 5))]
    assert engine.looks == [False, True]
    paused = [event["text"] for event in session_log.events if event.get("paused")]
    assert set(paused) <= set(session_log.finals), "what is shown at the pause is what the final will be"


async def test_a_final_does_not_wait_for_a_second_decode_that_would_be_late(monkeypatch):
    monkeypatch.setattr(session_output, "IMPROVED_BY_S", -60.0)
    engine = NeedsASecondLook()
    session_log = await recognise(np.r_[speak(5, gap=1600), silence(1)], engine, vad.load("rms"))
    assert session_log.finals == [" ".join(script(0, 4))]
    assert engine.looks == [False]


async def test_a_speculation_is_not_decoded_again_if_the_speaker_goes_on():
    engine = NeedsASecondLook()
    pcm = np.r_[
        speak(5, gap=1600), silence(0.25), speak(3, first=5, gap=1600), silence(1)
    ]  # a pause that is no endpoint
    session_log = await recognise(pcm, engine, vad.load("rms"))
    assert session_log.finals == [" ".join(script(0, 8))]
    assert engine.looks[-1]
