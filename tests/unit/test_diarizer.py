"""The stage that labels speakers, with embeddings that come when the test says so."""

import asyncio
from concurrent.futures import Future
from dataclasses import replace

import numpy as np
import pytest

from parlando.domain.config import SessionConfig
from parlando.domain.events import FinalTranscript, Partial
from parlando.domain.transcript import TimedWord
from transcriber.pipeline.speaker_runs import divided
from transcriber.pipeline.stages import diarizer
from transcriber.pipeline.stages.base import StageAudio
from transcriber.pipeline.stages.speakers import COARSE_FOR, SpeakersStage
from transcriber.speakers.embedding import DIMENSIONS
from transcriber.speakers.known import NOBODY, KnownVoices

RATE = 16_000
CONFIG = SessionConfig(diarize=True)


def embedding(clip: np.ndarray) -> np.ndarray:
    """The vector whose only component is at the clip's loudest level."""
    vector = np.zeros(DIMENSIONS, np.float32)
    vector[round(10 * float(np.abs(clip).max()))] = 1.0
    return vector


class Embeddings:
    """Stands for the thread: computes at once, or when `release` is called."""

    def __init__(self) -> None:
        self.held = False
        self.waiting: list[tuple[Future, np.ndarray]] = []
        self.count = 0

    def __call__(self, clip: np.ndarray) -> Future:
        self.count += 1
        future: Future = Future()
        self.waiting.append((future, clip))
        if not self.held:
            self.release()
        return future

    def release(self) -> None:
        for future, clip in self.waiting:
            future.set_result(embedding(clip))
        self.waiting.clear()


@pytest.fixture
def embeddings(monkeypatch) -> Embeddings:
    found = Embeddings()
    monkeypatch.setattr(diarizer, "embedded", found)
    return found


def spoken(start: float, *levels: float, hurried: bool = False) -> StageAudio:
    """Three seconds of speech at each level, from `start` on."""
    pcm = np.concatenate([np.full(3 * RATE, level, np.float32) for level in levels])
    return StageAudio(pcm, start, CONFIG, hurried)


def final(segment: int, start: float, turns: int = 1) -> FinalTranscript:
    """Three words of a second each for each turn of three seconds."""
    words = [TimedWord(word=f"w{n}.", start=start + n, end=start + n + 0.9) for n in range(3 * turns)]
    text = " ".join(word.word for word in words)
    return FinalTranscript(
        session_id="s", segment=segment, text=text, start=start, end=start + 3.0 * turns, words=words
    )


async def labelled(stage: SpeakersStage, state: dict, segment: int, start: float, *levels: float, **more):
    """A final's speaker, and the events behind it."""
    audio = spoken(start, *levels, **more)
    found = await stage.on_final(final(segment, start, len(levels)), audio, state)
    return found, await stage.after_final(found, state)


async def test_speakers_keep_their_numbers_and_a_final_is_divided_between_them(embeddings):
    stage, state = SpeakersStage(60), {}
    first, _ = await labelled(stage, state, 0, 0.0, 0.1)
    second, _ = await labelled(stage, state, 1, 10.0, 0.5)
    both, _ = await labelled(stage, state, 2, 20.0, 0.5, 0.1)
    assert (first.speaker, second.speaker) == ("SPEAKER_00", "SPEAKER_01")
    assert [part.speaker for part in divided(both)] == ["SPEAKER_01", "SPEAKER_00"]
    assert [part.text for part in divided(both)] == ["w0. w1. w2.", "w3. w4. w5."]


async def test_another_worker_goes_on_with_the_state(embeddings):
    state: dict = {}
    for segment, level in enumerate((0.1, 0.5)):
        await labelled(SpeakersStage(60), state, segment, 10.0 * segment, level)
    found, _ = await labelled(SpeakersStage(60), state, 2, 30.0, 0.5)
    assert found.speaker == "SPEAKER_01"


async def test_a_speaker_who_is_late_follows_with_the_next_final(embeddings):
    stage, state = SpeakersStage(0.01), {}
    embeddings.held = True
    found, events = await labelled(stage, state, 0, 0.0, 0.1)
    assert (found.speaker, list(events)) == (None, [])
    embeddings.held = False
    embeddings.release()
    found, [revised] = await labelled(stage, state, 1, 10.0, 0.5)
    assert found.speaker == "SPEAKER_01"
    assert [(each.segment, each.speaker) for each in revised.segments] == [(0, "SPEAKER_00")]
    assert list(await stage.after_final(found, state)) == []


async def test_under_load_no_final_waits_and_what_was_provisional_is_revised(embeddings):
    """An hour is what a final may wait; nothing is computed before the next one."""
    stage, state = SpeakersStage(3600), {}
    await labelled(stage, state, 0, 0.0, 0.1)
    await labelled(stage, state, 1, 10.0, 0.5)
    partial = Partial(session_id="s", segment=2, text="a", stable="", start=20.0, end=23.0)
    await stage.on_partial(partial, spoken(20.0, 0.1, 0.5, 0.5), state)  # embeds the first windows
    embeddings.held = True
    async with asyncio.timeout(600):
        early, _ = await labelled(stage, state, 2, 20.0, 0.1, 0.5, 0.5, hurried=True)
        unknown, _ = await labelled(stage, state, 3, 30.0, 0.1, hurried=True)
    assert (early.speaker, unknown.speaker) == ("SPEAKER_00", None)
    assert early.text == "w0. w1. w2. w3. w4. w5. w6. w7. w8."

    embeddings.held = False
    embeddings.release()
    last, events = await labelled(stage, state, 4, 40.0, 0.5)
    revised = [each for event in events if event.type == "speakers_revised" for each in event.segments]
    assert last.speaker == "SPEAKER_01"
    assert [(each.segment, each.speaker) for each in revised] == [(2, "SPEAKER_01"), (3, "SPEAKER_00")]
    assert list(await stage.on_end("s", CONFIG, state)) == []


async def test_a_provisional_speaker_who_was_right_is_not_revised(embeddings):
    stage, state = SpeakersStage(3600), {}
    await labelled(stage, state, 0, 0.0, 0.1)
    partial = Partial(session_id="s", segment=1, text="a", stable="", start=10.0, end=13.0)
    await stage.on_partial(partial, spoken(10.0, 0.1, 0.1), state)
    embeddings.held = True
    async with asyncio.timeout(600):
        found, _ = await labelled(stage, state, 1, 10.0, 0.1, 0.1, hurried=True)
    assert found.speaker == "SPEAKER_00"
    embeddings.held = False
    embeddings.release()
    assert list(await stage.on_end("s", CONFIG, state)) == []


async def test_a_speaker_who_is_late_follows_at_the_end(embeddings):
    stage, state = SpeakersStage(0.01), {}
    embeddings.held = True
    await labelled(stage, state, 0, 0.0, 0.1)
    embeddings.release()
    [revised] = await stage.on_end("s", CONFIG, state)
    assert [(each.segment, each.speaker) for each in revised.segments] == [(0, "SPEAKER_00")]
    assert list(await stage.on_end("s", CONFIG, state)) == []


def anna() -> KnownVoices:
    """Anna, whose voice is that of the level 0.1."""
    vector = embedding(np.full(1, 0.1, np.float32))[None]
    return KnownVoices(("Anna",), np.full(1, 0.5, np.float32), vector)


def names(events) -> list[tuple[int, str | None]]:
    return [(each.segment, each.speaker_name) for event in events for each in event.segments]


async def test_names_stay_while_the_known_speakers_cannot_be_read(embeddings):
    stage, state, config = SpeakersStage(60), {}, CONFIG.model_copy(update={"known_speakers": "true"})

    async def told(segment: int, known: KnownVoices | None):
        audio = replace(spoken(10.0 * segment, 0.1, 0.1), config=config, known=known)
        found = await stage.on_final(final(segment, 10.0 * segment, 2), audio, state)
        return found.recognised["SPEAKER_00"].name if found.recognised else None, names(
            await stage.after_final(found, state)
        )

    assert await told(0, anna()) == ("Anna", [])
    assert await told(1, None) == ("Anna", [])
    assert await told(2, NOBODY) == (None, [(0, None), (1, None)])


@pytest.mark.parametrize(("known", "expected"), [(anna, "Anna"), (lambda: NOBODY, None)])
async def test_at_the_end_the_known_speakers_are_those_of_now(embeddings, known, expected):
    stage, state, config = SpeakersStage(0.01), {}, CONFIG.model_copy(update={"known_speakers": "true"})
    embeddings.held = True
    before = NOBODY if expected else anna()
    await stage.on_final(final(0, 0.0, 2), replace(spoken(0.0, 0.1, 0.1), config=config, known=before), state)
    embeddings.release()
    assert names(await stage.on_end("s", config, state, known())) == [(0, expected)]


async def test_a_partial_has_a_known_voice_and_its_windows_are_embedded_once(embeddings):
    stage, state = SpeakersStage(60), {}
    await labelled(stage, state, 0, 0.0, 0.1)
    partial = Partial(session_id="s", segment=1, text="a", stable="", start=10.0, end=11.0)
    early = await stage.on_partial(partial, spoken(10.0, 0.1), state)
    before = embeddings.count
    later = partial.model_copy(update={"end": 12.9})
    known = await stage.on_partial(later, spoken(10.0, 0.1), state)
    assert embeddings.count > before
    before = embeddings.count
    await stage.on_partial(later, spoken(10.0, 0.1), state)
    assert embeddings.count == before
    unknown = await stage.on_partial(
        later.model_copy(update={"start": 20.0, "end": 22.9}), spoken(20.0, 0.5), state
    )
    assert (early.speaker, known.speaker, unknown.speaker) == (None, "SPEAKER_00", None)


async def test_under_load_there_are_fewer_windows_and_the_client_is_told_once(embeddings):
    stage, state, told = SpeakersStage(60), {}, []
    for segment in range(COARSE_FOR + 3):
        before = embeddings.count
        _, events = await labelled(stage, state, segment, 10.0 * segment, 0.1, hurried=segment == 1)
        told += [(segment, event.status) for event in events if event.type == "status"]
        if segment < 2:
            told.append((segment, embeddings.count - before))
    assert told == [
        (0, 3),
        (1, "speakers_coarse"),
        (1, 2),
        (COARSE_FOR + 1, "speakers_complete"),
    ]
