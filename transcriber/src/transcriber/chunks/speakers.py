"""The speakers of a job: each chunk's voices are embedded beside it, and clustered in the last step."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from itertools import groupby
from typing import Final

import numpy as np

from parlando.domain.audio import SAMPLE_RATE, Float32
from parlando.domain.job_options import JobOptions
from parlando.domain.known_speakers import Recognised, VoiceClip
from parlando.domain.transcript import FinalSegment, SpeakerRun
from parlando.store.chunk_claims import ChunkSpec
from transcriber.speakers.attribution import attribute
from transcriber.speakers.clustering import SpeakerCount, centroids, name
from transcriber.speakers.embedding import is_narrow
from transcriber.speakers.known import NOBODY, KnownVoices, clip_of
from transcriber.speakers.recording import speakers_of
from transcriber.speakers.thread import embedded
from transcriber.speakers.voices import Voices
from transcriber.speakers.windows import Span, changes, spans

APART_S: Final = 0.3  # shortest silence between two stretches of speech


async def voices_of(work: ChunkSpec, pcm: Float32, *, enrol: bool = False) -> bytes:
    """The voices of a chunk, packed. `pcm`: its float32 samples at 16 kHz.

    `enrol`: tell too whether it is a telephone's, which takes some time; only `clip` needs it.
    """
    windows, groups, places = _windows(work, pcm)
    if not windows:
        return b""
    origin = work.start / SAMPLE_RATE
    clips = [pcm[_sample(w.start - origin) : _sample(w.end - origin)] for w in windows]
    vectors = await asyncio.gather(*(asyncio.wrap_future(embedded(clip)) for clip in clips))
    narrow = enrol and await asyncio.to_thread(is_narrow, pcm)
    return Voices(windows, groups, places, np.stack(vectors), narrow).pack()


async def runs_of(
    results: AsyncIterator[tuple[list[FinalSegment], bytes]], options: JobOptions, known: KnownVoices | None
) -> list[list[SpeakerRun]]:
    """The speakers of all segments of a job.

    `results`: segments with words, and voices, of each chunk. `known`: the known speakers to recognise.
    """
    chunks = [(segments, Voices.unpack(packed)) async for segments, packed in results]
    return await asyncio.to_thread(_runs, chunks, _count(options), known or NOBODY)


async def clip(results: AsyncIterator[tuple[list[FinalSegment], bytes]]) -> VoiceClip:
    """The voice of a job whose file is a clip of one person."""
    chunks = [Voices.unpack(packed) async for _, packed in results]
    spoken = [voices for voices in chunks if voices.windows]
    if not spoken:
        return VoiceClip(seconds=0.0, vector="")
    vectors, weights = _joined(spoken)
    seconds = [_spoken_s(voices) for voices in spoken]
    narrow = sum(each for each, voices in zip(seconds, spoken, strict=True) if voices.narrow)
    return clip_of(vectors, weights, seconds=sum(seconds), narrow=narrow > sum(seconds) / 2)


def _spoken_s(voices: Voices) -> float:
    """How long the stretches of speech are together, in seconds."""
    numbered = zip(voices.groups, voices.windows, strict=True)
    stretches = [[w for _, w in same] for _, same in groupby(numbered, lambda pair: pair[0])]
    return sum(stretch[-1].end - stretch[0].start for stretch in stretches)


def _joined(chunks: Sequence[Voices]) -> tuple[Float32, Float32]:
    """The vectors and the seconds of the windows of all chunks."""
    seconds = np.array([window.seconds for voices in chunks for window in voices.windows], np.float32)
    return np.concatenate([voices.vectors for voices in chunks]), seconds


def _runs(
    chunks: Sequence[tuple[list[FinalSegment], Voices]], count: SpeakerCount, known: KnownVoices
) -> list[list[SpeakerRun]]:
    all_voices = [voices for _, voices in chunks if voices.windows]
    if not all_voices:
        return [[SpeakerRun(words=len(s.words))] for segments, _ in chunks for s in segments]
    groups, first = [], 0
    for voices in all_voices:
        groups += [first + group for group in voices.groups]
        first = groups[-1] + 1
    vectors, seconds = _joined(all_voices)
    found = speakers_of(vectors, seconds, np.array(groups), count=count)
    people = known.recognised(centroids(vectors, seconds, found), np.bincount(found, seconds).tolist())
    labels = found.tolist()
    runs: list[list[SpeakerRun]] = []
    for segments, voices in chunks:
        own, labels = labels[: len(voices.windows)], labels[len(voices.windows) :]
        runs += _of_chunk(segments, voices, own, people)
    return runs


def _of_chunk(
    segments: list[FinalSegment], voices: Voices, labels: list[int], people: Mapping[int, Recognised]
) -> list[list[SpeakerRun]]:
    words = [word for segment in segments for word in segment.words]
    speakers: list[int | None] = (
        [*attribute(words, labels, voices.changes)] if labels else [None] * len(words)
    )
    found = []
    for segment in segments:
        own, speakers = speakers[: len(segment.words)], speakers[len(segment.words) :]
        runs = [(speaker, len(list(same))) for speaker, same in groupby(own)]
        found.append(
            [
                SpeakerRun(
                    words=length,
                    speaker=name(speaker),
                    recognised=None if speaker is None else people.get(speaker),
                )
                for speaker, length in runs
            ]
        )
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
