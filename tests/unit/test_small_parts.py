"""Guards, cadence, audio, word times, the scheduler."""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from dataclasses import replace
from types import SimpleNamespace

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlando.background import yield_to_others
from parlando.client import ClientError
from parlando.client import http as client_http
from parlando.domain.audio import Encoding, PcmDecoder
from parlando.domain.audio_buffer import AudioBuffer
from parlando.domain.config import SessionConfig
from parlando.errors import EngineError, InvalidAudioError
from parlando.store.history import SessionRecord
from support.perfect import PerfectEngine, speak
from transcriber.engines import word_times
from transcriber.engines.base import Hypothesis, Window, Word
from transcriber.engines.guards import compression, repeats_phrase, truncate_repetition
from transcriber.engines.moonshine_variants import further_variants, variants_of
from transcriber.engines.word_times import align
from transcriber.pipeline.context import SettledContext
from transcriber.pipeline.language import LanguageTracker
from transcriber.pipeline.open_segment import OpenSegment
from transcriber.pipeline.segmenter import Utterance
from transcriber.recognition.cadence import Cadence
from transcriber.recognition.deadlines import Lane
from transcriber.recognition.recognizer import Recognizer
from transcriber.recognition.scheduler import Scheduler


def test_a_loop_at_the_end_is_cut_to_one_turn():
    assert truncate_repetition([1, 2, 3, 7, 8, 7, 8, 7, 8, 7, 8]) == [1, 2, 3, 7, 8]
    assert truncate_repetition([5, 5, 5]) == [5, 5, 5]
    assert truncate_repetition([]) == []
    assert truncate_repetition([4, 4, 4, 4, 4], keep=3) == [4, 4, 4]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am sure I can sleep. I am sure I can sleep.", True),
        ("High best quantities, high best quantities, high best", True),
        ("and on and on and on", True),
        ("no no no no", True),
        ("It was the best of times, it was the worst of times", False),
        ("again and again and", False),
        ("no, no, no", False),
        ("", False),
    ],
)
def test_a_phrase_that_repeats_in_direct_succession_is_suspect(text, expected):
    assert repeats_phrase(text.split()) is expected


@given(st.lists(st.integers(0, 3), max_size=60))
def test_cutting_loops_always_ends_and_keeps_a_beginning(tokens):
    kept = truncate_repetition(tokens)

    assert tokens[: len(kept)] == kept


def test_repetition_compresses_well():
    assert (
        compression("one two three " * 30) > 2.4 > compression("It was the best of times, it was the worst.")
    )


@given(st.binary(max_size=400), st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_odd_frames_make_the_same_samples(data, cuts):
    decoder, out, at = PcmDecoder(Encoding.PCM_S16LE), b"", 0
    for cut in cuts:
        out += decoder.push(data[at : at + cut])
        at += cut
    out += decoder.push(data[at:])

    assert out == data[: len(data) // 2 * 2]


def test_float_samples_become_the_integers_that_they_were():
    pcm = np.array([0, 1, -1, 32767, -32768], np.int16)

    out = PcmDecoder(Encoding.PCM_F32LE).push((pcm / 32768).astype("<f4").tobytes())

    assert np.frombuffer(out, "<i2").tolist() == pcm.tolist()


def test_a_process_that_has_ended_already_needs_no_lower_priority():
    """An FFmpeg may end, as what it's given is no audio, before its priority is lowered."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()

    yield_to_others(ended.pid)


def test_what_is_no_sound_is_refused_with_a_reason():
    with pytest.raises(InvalidAudioError, match="NaN"):
        PcmDecoder(Encoding.PCM_F32LE).push(np.array([np.nan], "<f4").tobytes())


@given(st.lists(st.tuples(st.integers(1, 5000), st.booleans()), max_size=60))
def test_the_audio_buffer_gives_back_what_it_holds(steps):
    buffer, everything = AudioBuffer(), np.zeros(0, np.int16)
    for size, trim in steps:
        piece = np.arange(len(everything), len(everything) + size).astype(np.int16)
        everything = np.r_[everything, piece]
        buffer.append(piece)
        if trim:
            buffer.trim(buffer.end - 700)
        assert (buffer.slice(buffer.start, buffer.end) == everything[buffer.start :]).all()
    with pytest.raises(IndexError, match="expected samples within"):
        buffer.slice(buffer.end, buffer.end + 1)


def test_word_times_follow_the_attention():
    weights = np.zeros((1, 1, 3, 60))
    for token, (start, end) in enumerate([(0, 20), (20, 45), (45, 60)]):
        weights[0, 0, token, start:end] = 1.0

    spans = align(weights, [1, 2], 0.02)

    assert spans[0][0] == pytest.approx(0.0, abs=0.1)
    assert spans[1] == pytest.approx((0.4, 1.2), abs=0.1)


async def test_finals_go_before_later_partials_and_cancelled_windows_are_never_run():
    """And each knows whether another final waits for it."""
    engine = PerfectEngine()
    scheduler = Scheduler(engine, Cadence(8000))
    order = []

    def window(name: str) -> Window:
        order.append((name, scheduler.has_queued_finals))
        return Window(speak(1).astype(np.float32) / 32768)

    partial = scheduler.submit(Lane.PARTIAL, lambda: window("partial"))
    dropped = scheduler.submit(Lane.PARTIAL, lambda: window("dropped"))
    first = scheduler.submit(Lane.FIRST_PARTIAL, lambda: window("first"))
    final = scheduler.submit(Lane.FINAL, lambda: window("final"))
    other = scheduler.submit(Lane.FINAL, lambda: window("other final"))
    dropped.cancel()
    serving = asyncio.create_task(scheduler.run())
    answers = await asyncio.gather(partial.answer, dropped.answer, first.answer, final.answer)
    serving.cancel()

    assert await other.answer is not None
    assert order == [("first", True), ("final", True), ("other final", False), ("partial", False)]
    assert answers[1] is None
    assert answers[3].text == "w0000"


async def test_case_6_one_poisonous_window_of_a_batch_fails_alone():
    class Touchy(PerfectEngine):
        def transcribe(self, windows):
            if any(w.prompt == "poison" for w in windows):
                raise EngineError("no")
            return super().transcribe(windows)

    scheduler = Scheduler(Touchy(batch=4), Cadence(8000))
    samples = speak(1).astype(np.float32) / 32768
    tickets = [
        scheduler.submit(Lane.FINAL, lambda p=prompt: Window(samples, prompt=p))
        for prompt in ("a", "poison", "b", "c")
    ]
    serving = asyncio.create_task(scheduler.run())
    answers = await asyncio.gather(*(ticket.answer for ticket in tickets), return_exceptions=True)
    serving.cancel()

    assert isinstance(answers[1], EngineError)
    assert [answers[n].text for n in (0, 2, 3)] == ["w0000"] * 3


def test_the_median_of_seven_is_numpys():
    rows = np.random.default_rng(5).normal(size=(4, 50)).astype(np.float32)
    padded = np.pad(rows, ((0, 0), (3, 3)), mode="reflect")
    expected = np.median(np.lib.stride_tricks.sliding_window_view(padded, 7, axis=1), axis=-1)
    assert (word_times._median_filtered(rows) == expected).all()
    assert (word_times._median_filtered(rows[:, :3]) == rows[:, :3]).all()


def _recognizer(*, reproducible):
    """A recognizer with one earlier segment, and its scheduler."""
    engine = SimpleNamespace(info=SimpleNamespace(primes=True, improves=False))
    audio = AudioBuffer()
    audio.append(np.zeros(5 * 16_000, np.int16))
    scheduler = SimpleNamespace(engine=engine, cadence=Cadence(8000), has_queued_finals=False)
    recognizer = Recognizer(
        scheduler,
        SimpleNamespace(audio=audio),
        SettledContext(8 * 16_000),
        LanguageTracker(),
        reproducible=reproducible,
    )
    recognizer.context.add(0, 30_000, (Word("before"),))
    return recognizer, scheduler


def test_a_reproducible_final_does_not_depend_on_the_load():
    utterance = Utterance(1, 32_000, 33_000, 79_000, 40_000, 80_000)

    def final(*, reproducible, load):
        recognizer, scheduler = _recognizer(reproducible=reproducible)
        scheduler.has_queued_finals = load > 0
        for second in range(60):
            scheduler.cadence.observe(load, float(second))
        window = recognizer.window(OpenSegment(1, 32_000, 33_000), 80_000, SessionConfig(), utterance)
        return len(window.samples), window.context_samples, window.redecode

    assert final(reproducible=False, load=0.0) == (80_000, 32_000, True)
    assert final(reproducible=False, load=1.0) == (48_000, 0, False)
    assert final(reproducible=True, load=0.0) == final(reproducible=True, load=1.0) == (80_000, 32_000, True)


def test_under_load_only_doubtful_finals_are_decoded_again():
    def improves(confidence, attempts=0, *, reproducible, load, improvable=True):
        recognizer, scheduler = _recognizer(reproducible=reproducible)
        for second in range(60):
            scheduler.cadence.observe(load, float(second))
        before = Hypothesis((), confidence=confidence, improvable=improvable)
        return recognizer.should_improve(before, attempts)

    assert improves(0.9, reproducible=False, load=0.0)
    assert not improves(0.9, reproducible=False, load=1.0)
    assert improves(0.85, reproducible=False, load=1.0)
    assert not improves(0.85, 1, reproducible=False, load=1.0), "once is enough"
    assert improves(0.75, 1, reproducible=False, load=1.0)
    assert improves(0.85, 1, reproducible=False, load=0.0)
    assert improves(0.9, reproducible=True, load=1.0)
    assert not improves(0.8, reproducible=False, load=0.0, improvable=False)


def test_under_load_windows_are_decoded_once_and_without_context():
    recognizer, scheduler = _recognizer(reproducible=False)
    cadence, engine = scheduler.cadence, scheduler.engine
    segment, utterance = OpenSegment(1, 32_000, 33_000), Utterance(1, 32_000, 33_000, 79_000, 40_000, 80_000)

    calm = recognizer.window(segment, 80_000, SessionConfig(), utterance)
    assert calm.redecode
    assert (len(calm.samples), calm.context_samples, len(calm.context)) == (80_000, 32_000, 1)
    assert recognizer.window(segment, 80_000, SessionConfig()).redecode
    scheduler.has_queued_finals = True
    assert not recognizer.window(segment, 80_000, SessionConfig(), utterance).redecode
    scheduler.has_queued_finals = False
    engine.info.improves = True
    improvable = recognizer.window(segment, 80_000, SessionConfig(), utterance)
    assert not improvable.redecode, "its further decode waits for its turn in the queue"

    for second in range(60):
        cadence.observe(1.0, float(second))
    loaded = recognizer.window(segment, 80_000, SessionConfig(), utterance)
    assert (len(loaded.samples), loaded.context_samples, len(loaded.context)) == (48_000, 0, 0)
    assert (calm.lead_samples, loaded.lead_samples) == (0, 1_000), "the engine may leave out silence"
    assert not recognizer.window(segment, 80_000, SessionConfig()).redecode
    further = recognizer.window(segment, 80_000, SessionConfig(), utterance, improves=True)
    assert (further.context_samples, further.lead_samples) == (32_000, 1_000), "in a further decode"


async def test_a_doubtful_final_is_decoded_again_soon_and_a_rather_sure_one_when_there_is_time():
    recognizer, scheduler = _recognizer(reproducible=False)
    segment, utterance = OpenSegment(1, 32_000, 33_000), Utterance(1, 32_000, 33_000, 79_000, 40_000, 80_000)
    asked = []

    def submit(lane, make_window, *, audio, deadline, expires):
        asked.append((make_window().attempt, deadline, expires))
        answer = asyncio.get_running_loop().create_future()
        answer.set_result(None)
        return SimpleNamespace(answer=answer)

    scheduler.submit, scheduler.withdraw = submit, lambda ticket: None
    for confidence in (0.5, 0.93):
        latest = time.monotonic() + 1000
        before = Hypothesis((Word("so"),), confidence=confidence, improvable=True)
        assert await recognizer.improve(segment, utterance, SessionConfig(), before, latest) is before
        attempt, deadline, expires = asked.pop()
        assert (attempt, expires) == (1, latest)
        assert deadline == latest if confidence > 0.9 else deadline < latest - 500


def test_moonshine_decodes_an_uncertain_final_without_context_again_with_it():
    context = (Word("before"),)
    quick = Window(np.zeros(80_000, np.float32), context=context, context_samples=32_000, lead_samples=8000)
    quick = replace(quick, final=True)
    assert not variants_of(quick)[0].context
    assert further_variants(quick)[0].context
    calm = replace(quick, lead_samples=0)
    assert variants_of(calm)[0].context
    assert not any(each.context for each in further_variants(calm))
    assert not any(each.context for each in further_variants(replace(quick, context=())))


@pytest.mark.parametrize(
    ("state", "owner", "open_segment", "lag"),
    [
        ("open", "w1", {"index": 0}, 300),
        ("open", "w1", None, 0),  # silence isn't decoded, and nobody waits for it
        ("open", "", None, 300),  # nobody listens, so nobody knows
        ("closed", "", None, 0),
    ],
)
def test_the_lag_of_a_session_is_what_somebody_waits_for(state, owner, open_segment, lag):
    record = SessionRecord(
        sid="s",
        state=state,
        key="",
        owner=owner,
        epoch=1,
        received=1000,
        decoded=700,
        seq=0,
        segments=0,
        created=0,
        opened_ms=0,
        config={},
        open_segment=open_segment,
        uid="",
    )

    assert record.lag == lag


STREAM = {"content-type": "text/event-stream"}


async def test_events_are_followed_over_broken_connections(monkeypatch):
    """A gateway that restarts, one that breaks off, one that ends too early, one that refuses."""
    monkeypatch.setattr(client_http, "WAIT_S", 0.0)

    def event(seq: int) -> bytes:
        return f"id: {seq}\ndata: {json.dumps({'type': 'final', 'seq': seq})}\n\n".encode()

    async def breaking() -> AsyncIterator[bytes]:
        yield event(1)
        yield event(2)
        raise httpx.ReadError("reset")

    answers = iter(
        [
            httpx.Response(503),
            httpx.Response(200, headers=STREAM, content=breaking()),
            httpx.Response(200, headers=STREAM, content=b": still here\n\n" + event(3)),
            httpx.Response(403, json={"code": "not_allowed", "detail": "This link was revoked"}),
        ]
    )
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["Last-Event-ID"])
        return next(answers)

    seen: list[int] = []
    async with (
        httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client,
        aclosing(client_http.follow(client, "http://gateway/events")) as events,
    ):
        with pytest.raises(ClientError, match="revoked"):
            while True:
                seen.append((await anext(events))["seq"])
    assert seen == [1, 2, 3]
    assert asked == ["0", "0", "2", "3"]


async def test_a_gateway_that_stays_away_is_given_up(monkeypatch):
    monkeypatch.setattr(client_http, "WAIT_S", 0.0)
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(502))) as client:
        with pytest.raises(ClientError, match="was lost too often"):
            await anext(client_http.follow(client, "http://gateway/events"))
