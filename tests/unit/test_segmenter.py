"""Cutting audio into utterances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parlando.vad import FRAME
from parlando.vad.rms import RmsModel
from support.perfect import silence, speak
from transcriber.pipeline.segmenter import Ended, Paused, Quiet, Resumed, Segmenter, SegmenterOptions, Started


def _segmenter(**options: int) -> Segmenter:
    return Segmenter(RmsModel("").stream(), SegmenterOptions(**options))


def _events(pcm: np.ndarray, step: int = 320, segmenter: Segmenter | None = None) -> list:
    segmenter = segmenter or _segmenter()
    events = []
    for at in range(0, len(pcm), step):
        events += segmenter.push(pcm[at : at + step])
    return events + segmenter.settle()


def _utterances(events: list) -> list[tuple[int, int]]:
    return [(e.utterance.start, e.utterance.end) for e in events if isinstance(e, Ended)]


def test_a_segment_ends_after_silence_and_the_next_does_not_overlap_it():
    events = _events(np.concatenate([silence(1), speak(4), silence(1), speak(2), silence(1)]))

    (first, first_end), (second, second_end) = _utterances(events)
    assert first == pytest.approx(16_000 - 8000, abs=2 * FRAME)
    assert first_end <= second
    assert second_end > second


def test_a_pause_is_announced_before_the_endpoint_and_taken_back_when_speech_goes_on():
    events = _events(np.concatenate([speak(2), silence(0.1), speak(2), silence(1)]))

    kinds = [type(event) for event in events if isinstance(event, Started | Paused | Resumed | Ended)]
    assert kinds[0] is Started
    assert kinds[-2:] == [Paused, Ended]
    paused = [event for event in events if isinstance(event, Paused)][-1]
    assert paused.utterance.end == _utterances(events)[-1][1], "the speculation is of the final's window"


def test_long_speech_is_cut_at_a_dip():
    lengths = [end - start for start, end in _utterances(_events(speak(40, gap=2400)))]

    assert len(lengths) > 1
    assert max(lengths) <= 15 * 16_000 + FRAME


def test_speech_without_any_dip_is_cut_at_the_hard_limit_and_goes_on_from_there():
    spans = _utterances(_events(speak(120, gap=0)))

    assert all(end - start <= 15 * 16_000 + FRAME for start, end in spans)
    assert [start for start, _ in spans[1:]] == [end for _, end in spans[:-1]], (
        "no sample is between segments"
    )


def test_silence_moves_the_checkpoint():
    quiet = [event for event in _events(silence(10)) if isinstance(event, Quiet)]

    assert len(quiet) >= 8
    assert quiet[-2].checkpoint > 9 * 16_000 - 8000 - 16_000


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 40_000), min_size=1, max_size=30))
def test_the_size_of_the_slices_changes_nothing(sizes):
    pcm = np.concatenate([silence(0.7), speak(5), silence(0.6), speak(25, first=5, gap=900), silence(0.9)])
    segmenter, at, events = _segmenter(), 0, []
    for size in sizes:
        events += segmenter.push(pcm[at : at + size])
        at += size
    events += segmenter.push(pcm[at:]) + segmenter.settle()

    assert [e for e in events if isinstance(e, Ended)] == [e for e in _events(pcm) if isinstance(e, Ended)]


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 30))
def test_a_restored_segmenter_goes_on_as_if_nothing_had_happened(which):
    pcm = np.concatenate(
        [speak(4), silence(1.5), speak(60, first=4, gap=0), silence(2), speak(3), silence(1)]
    )
    events = _events(pcm)
    marks = [index for index, event in enumerate(events) if isinstance(event, Ended | Quiet)]
    mark = marks[which % len(marks)]
    offset = max(0, events[mark].checkpoint - 5000)
    second = _segmenter()
    second.restore(offset, events[mark].snapshot)

    again = _events(pcm[offset:], segmenter=second)

    def told(some: list) -> list:
        return [event for event in some if isinstance(event, Ended)]

    assert told(again) == told(events[mark + 1 :])


def test_audio_that_begins_later_gives_the_same_segments_later():
    pcm = np.concatenate([silence(1), speak(4), silence(1), speak(2), silence(1)])
    first = Segmenter(RmsModel("").stream(), start=100_001, index=7)

    events = _events(pcm, segmenter=first)

    assert _utterances(events) == [(a + 100_001, b + 100_001) for a, b in _utterances(_events(pcm))]
    assert [event.utterance.index for event in events if isinstance(event, Ended)] == [7, 8]
