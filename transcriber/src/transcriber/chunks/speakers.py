"""The speakers of a job: each chunk's voices are embedded beside it, and clustered in the last step."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Float32
from parlando.domain.job_options import JobOptions
from parlando.domain.transcript import FinalSegment, SpeakerRun
from parlando.store.chunk_claims import ChunkSpec
from transcriber.speakers.attribution import attribute
from transcriber.speakers.clustering import SpeakerCount, name
from transcriber.speakers.recording import speakers_of
from transcriber.speakers.thread import embedded
from transcriber.speakers.voices import Voices
from transcriber.speakers.windows import Span, changes, spans

APART_S: Final = 0.3  # shortest silence between two stretches of speech


async def voices_of(work: ChunkSpec, pcm: Float32) -> bytes:
    """The voices of a chunk, packed. `pcm`: its float32 samples at 16 kHz."""
    windows, groups, places = _windows(work, pcm)
    if not windows:
        return b""
    origin = work.start / SAMPLE_RATE
    clips = [pcm[_sample(w.start - origin) : _sample(w.end - origin)] for w in windows]
    vectors = await asyncio.gather(*(asyncio.wrap_future(embedded(clip)) for clip in clips))
    return Voices(windows, groups, places, np.stack(vectors)).pack()


async def runs_of(
    results: AsyncIterator[tuple[list[FinalSegment], bytes]], options: JobOptions
) -> list[list[SpeakerRun]]:
    """The speakers of all segments of a job. `results`: segments with words, and voices, of each chunk."""
    chunks = [(segments, Voices.unpack(packed)) async for segments, packed in results]
    return await asyncio.to_thread(_runs, chunks, _count(options))


def _runs(chunks: Sequence[tuple[list[FinalSegment], Voices]], count: SpeakerCount) -> list[list[SpeakerRun]]:
    all_voices = [voices for _, voices in chunks if voices.windows]
    if not all_voices:
        return [[SpeakerRun(words=len(s.words))] for segments, _ in chunks for s in segments]
    groups, first = [], 0
    for voices in all_voices:
        groups += [first + group for group in voices.groups]
        first = groups[-1] + 1
    labels = speakers_of(
        np.concatenate([voices.vectors for voices in all_voices]),
        np.array([w.seconds for voices in all_voices for w in voices.windows], np.float32),
        np.array(groups),
        count=count,
    ).tolist()
    found: list[list[SpeakerRun]] = []
    for segments, voices in chunks:
        own, labels = labels[: len(voices.windows)], labels[len(voices.windows) :]
        found += _of_chunk(segments, voices, own)
    return found


def _of_chunk(segments: list[FinalSegment], voices: Voices, labels: list[int]) -> list[list[SpeakerRun]]:
    words = [word for segment in segments for word in segment.words]
    speakers: list[int | None] = (
        [*attribute(words, labels, voices.changes)] if labels else [None] * len(words)
    )
    found = []
    for segment in segments:
        own, speakers = speakers[: len(segment.words)], speakers[len(segment.words) :]
        runs = [(speaker, len(list(same))) for speaker, same in groupby(own)]
        found.append([SpeakerRun(words=length, speaker=name(speaker)) for speaker, length in runs])
    return found


def _windows(work: ChunkSpec, pcm: Float32) -> tuple[list[Span], list[int], list[float]]:
    """The windows of a chunk, the stretch of speech of each, and where a change behind it would be."""
    origin = work.start / SAMPLE_RATE
    windows: list[Span] = []
    groups: list[int] = []
    places: list[float] = []
    for group, (start, end) in enumerate(_stretches(work)):
        own = spans(start, end)
        clip = pcm[_sample(start - origin) : _sample(end - origin)]
        if places:  # a change between two stretches is in the silence between them
            places[-1] = (windows[-1].end + start) / 2
        windows += own
        groups += [group] * len(own)
        places += changes(clip, start, own)
    return windows, groups, places


def _stretches(work: ChunkSpec) -> list[tuple[float, float]]:
    """The intervals of speech in seconds, those joined that are less than `APART_S` apart."""
    found: list[tuple[float, float]] = []
    for first, last in work.speech:
        start, end = first / SAMPLE_RATE, last / SAMPLE_RATE
        if found and start - found[-1][1] < APART_S:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def _count(options: JobOptions) -> SpeakerCount:
    return SpeakerCount.of(options.speaker_count, options.min_speakers, options.max_speakers)


def _sample(seconds: float) -> int:
    return max(0, round(seconds * SAMPLE_RATE))
