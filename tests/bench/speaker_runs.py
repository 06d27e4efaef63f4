"""The speakers that the parts of the product find in a recording, live and offline, and when."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

from parlando import vad
from parlando.domain.audio import Float32, Pcm16
from support.speech import RATE
from transcriber.pipeline.segmenter import Ended, Segmenter
from transcriber.speakers.embedding import VoiceModel
from transcriber.speakers.live import LiveSpeakers
from transcriber.speakers.recording import speakers_of
from transcriber.speakers.windows import Span, changes, spans

STEP = RATE // 10  # samples pushed at a time


@dataclass(frozen=True)
class Label:
    """A stretch of speech and its speaker. `at`: second of the audio at which the label was sent."""

    start: float
    end: float
    speaker: int
    at: float


@dataclass(frozen=True)
class Spoken:
    """An utterance of the voice detector: its windows, their embeddings, and changes between them.

    `at`: second of the audio at which it ends. `cost`: CPU seconds of its embeddings.
    """

    start: float
    at: float
    windows: Sequence[Span]
    vectors: Float32
    changes: Sequence[float]
    cost: float


@dataclass(frozen=True)
class Labels:
    """A recording's labels: live as first sent, live after revisions, offline. `cost`: CPU seconds."""

    first: Sequence[Label]
    final: Sequence[Label]
    offline: Sequence[Label]
    cost: float


def utterances(pcm: Float32, model: VoiceModel, detector: vad.VadModel) -> list[Spoken]:
    """The utterances of float32 samples at 16 kHz, cut as in a live session."""
    whole = as_pcm16(pcm)
    segmenter = Segmenter(detector.stream())
    found = []
    for first in range(0, len(whole), STEP):
        events = segmenter.push(whole[first : first + STEP])
        at = segmenter.detected / RATE
        found += [_spoken(event, pcm, at, model) for event in events if isinstance(event, Ended)]
    found += [
        _spoken(event, pcm, len(pcm) / RATE, model)
        for event in segmenter.settle()
        if isinstance(event, Ended)
    ]
    return found


def _spoken(ended: Ended, pcm: Float32, at: float, model: VoiceModel) -> Spoken:
    utterance = ended.utterance
    windows = spans(utterance.onset / RATE, utterance.speech_end / RATE)
    began = time.process_time()
    around = pcm[utterance.start : utterance.end]
    clips = [pcm[round(window.start * RATE) : round(window.end * RATE)] for window in windows]
    vectors = model.embed(clips)
    places = changes(around, utterance.start / RATE, windows)
    return Spoken(windows[0].start, at, windows, vectors, places, time.process_time() - began)


def labels(spoken: Sequence[Spoken]) -> Labels:
    """The labels of utterances."""
    began = time.process_time()
    first, final = live(spoken)
    cost = time.process_time() - began + sum(each.cost for each in spoken)
    return Labels(first, final, offline(spoken), cost)


def live(spoken: Sequence[Spoken]) -> tuple[list[Label], list[Label]]:
    """The labels as first sent, and after the revisions. A segment is a run of windows of one speaker."""
    speakers = LiveSpeakers()
    first: list[Label] = []
    final: list[Label] = []
    for each in spoken:
        found = speakers.add(each.windows, each.vectors)
        segments = []
        for label, numbers in runs(found):
            segments.append((len(first), numbers))
            start = each.changes[numbers[0] - 1] if numbers[0] else each.start
            first.append(Label(start, each.changes[numbers[-1]], label, each.at))
        speakers.place(segments)
        final += first[len(final) :]
        for segment, speaker in speakers.revisions():
            assert speaker is not None
            old = final[segment]
            final[segment] = Label(old.start, old.end, speaker, each.at)
    return first, final


def offline(spoken: Sequence[Spoken]) -> list[Label]:
    """The labels of all utterances, clustered together."""
    if not spoken:
        return []
    groups = np.concatenate([np.full(len(each.windows), n) for n, each in enumerate(spoken)])
    seconds = np.array([window.seconds for each in spoken for window in each.windows], np.float32)
    found = speakers_of(np.concatenate([each.vectors for each in spoken]), seconds, groups)
    result = []
    for n, each in enumerate(spoken):
        for label, numbers in runs(found[groups == n].tolist()):
            start = each.changes[numbers[0] - 1] if numbers[0] else each.start
            result.append(Label(start, each.changes[numbers[-1]], label, spoken[-1].at))
    return result


def runs(found: Sequence[int]) -> list[tuple[int, list[int]]]:
    """Runs of equal labels: (label, numbers of the windows)."""
    return [
        (label, [n for n, _ in numbered])
        for label, numbered in groupby(enumerate(found), key=lambda pair: pair[1])
    ]


def as_pcm16(pcm: Float32) -> Pcm16:
    """Float32 samples as int16."""
    return np.asarray(np.clip(np.rint(pcm * 32768), -32768, 32767), np.int16)
