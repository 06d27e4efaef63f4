"""The responses of Deepgram's API about recorded files. Pure."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from api_gateway.presenters.deepgram import (
    Style,
    alternative,
    mean,
    timed_words,
    warnings,
    word_fields,
    written,
)
from api_gateway.presenters.session import iso
from api_gateway.presenters.speakers import speaker_number
from parlando.domain.job_options import JobStatus
from parlando.domain.transcript import FinalSegment, TimedWord, Transcript, join
from parlando.errors import EngineError, InvalidAudioError, InvalidRequestError
from parlando.store.job_store import JobRecord

SENTENCE_END: Final = (".", "!", "?", "…", "。", "！", "？")
MAX_SENTENCES: Final = 5  # of a paragraph
PARAGRAPH_GAP_S: Final = 2.0  # silence that begins a new paragraph


class Presentation(BaseModel):
    """What a response contains. `punctuated`, `speakers`, `languages`: see `Style`.

    `utterance_gap_s`: silence between two utterances; None for none. `paragraphs`: whether there are
    paragraphs. `detected`: whether the language was to be detected.
    """

    model_config = ConfigDict(frozen=True)

    punctuated: bool = True
    speakers: bool = False
    languages: bool = False
    utterance_gap_s: float | None = None
    paragraphs: bool = False
    detected: bool = False
    extra: dict[str, str] = {}
    tags: tuple[str, ...] = ()
    not_honoured: tuple[tuple[str, str], ...] = ()

    @property
    def style(self) -> Style:
        """How text is written."""
        return Style(self.punctuated, self.speakers, self.languages)


def response_of(record: JobRecord, transcript: Transcript, shown: Presentation) -> dict[str, Any]:
    """The response about a completed job.

    Raises
    ------
    InvalidAudioError, InvalidRequestError, EngineError
        if the job has failed.

    """
    if record.status is not JobStatus.COMPLETED:
        failure = record.error or {"code": "internal", "message": "The job failed"}
        if failure["code"] in ("invalid_audio", "too_long"):
            raise InvalidAudioError(failure["message"])
        if failure["code"] in ("url_failed", "url_refused"):
            raise InvalidRequestError(failure["message"])
        raise EngineError(failure["message"])
    channels = _by_channel(record, transcript.segments)
    metadata: dict[str, Any] = {
        "transaction_key": "deprecated",
        "request_id": record.job,
        "sha256": "" if record.source.url else record.source.digest,
        "created": iso(record.created_ms),
        "duration": transcript.duration,
        "channels": len(channels),
        "models": [record.pool],
        "model_info": {record.pool: {"name": record.pool, "version": "1", "arch": record.pool}},
    }
    if shown.not_honoured:
        metadata["warnings"] = warnings(shown.not_honoured)
    if shown.extra:
        metadata["extra"] = shown.extra
    if shown.tags:
        metadata["tags"] = list(shown.tags)
    results: dict[str, Any] = {"channels": [_channel(segments, shown) for segments in channels]}
    if shown.utterance_gap_s is not None:
        results["utterances"] = [
            utterance
            for number, segments in enumerate(channels)
            for utterance in _utterances(segments, number, shown, record.job)
        ]
        results["utterances"].sort(key=lambda utterance: utterance["start"])
    return {"metadata": metadata, "results": results}


def _by_channel(record: JobRecord, segments: Sequence[FinalSegment]) -> list[list[FinalSegment]]:
    """The segments of each channel; one list if the channels are mixed."""
    if record.options.channels == "mix":
        return [list(segments)]
    count = record.audio // record.duration if record.duration else 1
    channels: list[list[FinalSegment]] = [[] for _ in range(max(1, count))]
    for segment in segments:
        number = speaker_number(segment.speaker) or 0
        while number >= len(channels):
            channels.append([])
        channels[number].append(segment)
    return channels


def _channel(segments: Sequence[FinalSegment], shown: Presentation) -> dict[str, Any]:
    found = alternative(segments, shown.style)
    if shown.paragraphs:
        found["paragraphs"] = _paragraphs(segments, shown.style)
    channel: dict[str, Any] = {"alternatives": [found]}
    if shown.detected:
        language = next((segment.language for segment in segments if segment.language), None)
        if language is not None:
            channel["detected_language"] = language
    return channel


_Spoken = tuple[TimedWord, FinalSegment]


def _spoken(segments: Sequence[FinalSegment]) -> list[_Spoken]:
    return [(word, segment) for segment in segments if segment.text for word in timed_words(segment)]


def _grouped(spoken: Sequence[_Spoken], splits: Sequence[bool]) -> list[list[_Spoken]]:
    """Words in groups; `splits`: for each word but the first, whether it begins one."""
    groups: list[list[_Spoken]] = []
    for number, each in enumerate(spoken):
        if number == 0 or splits[number - 1]:
            groups.append([])
        groups[-1].append(each)
    return groups


def _text(group: Sequence[_Spoken], style: Style) -> str:
    language = group[0][1].language
    return written(join((word.word for word, _ in group), language), language, style)


def _utterances(
    segments: Sequence[FinalSegment], channel: int, shown: Presentation, job: str
) -> list[dict[str, Any]]:
    spoken = _spoken(segments)
    gap = shown.utterance_gap_s or 0.0
    splits = [
        later.start - word.end >= gap or one.speaker != other.speaker
        for (word, one), (later, other) in pairwise(spoken)
    ]
    found = []
    for number, group in enumerate(_grouped(spoken, splits)):
        words = [word_fields(word, segment, shown.style) for word, segment in group]
        utterance = {
            "start": group[0][0].start,
            "end": group[-1][0].end,
            "confidence": mean([word["confidence"] for word in words]),
            "channel": channel,
            "transcript": _text(group, shown.style),
            "words": words,
            "id": f"{job}-{channel}-{number}",
        }
        speaker = speaker_number(group[0][1].speaker)
        if shown.style.speakers and speaker is not None:
            utterance["speaker"] = speaker
        found.append(utterance)
    return found


def _paragraphs(segments: Sequence[FinalSegment], style: Style) -> dict[str, Any]:
    """Paragraphs of up to `MAX_SENTENCES` sentences; silence or another speaker begins a new one."""
    spoken = _spoken(segments)
    splits = [word.word.endswith(SENTENCE_END) for word, _ in spoken[:-1]]
    sentences = _grouped(spoken, splits)
    paragraphs: list[list[list[_Spoken]]] = []
    for sentence in sentences:
        if not paragraphs or _begins_paragraph(paragraphs[-1], sentence):
            paragraphs.append([])
        paragraphs[-1].append(sentence)
    found = []
    for paragraph in paragraphs:
        entry: dict[str, Any] = {
            "sentences": [
                {"text": _text(each, style), "start": each[0][0].start, "end": each[-1][0].end}
                for each in paragraph
            ],
            "num_words": sum(len(each) for each in paragraph),
            "start": paragraph[0][0][0].start,
            "end": paragraph[-1][-1][0].end,
        }
        speaker = speaker_number(paragraph[0][0][1].speaker)
        if style.speakers and speaker is not None:
            entry["speaker"] = speaker
        found.append(entry)
    return {"transcript": _paragraph_text(found), "paragraphs": found}


def _begins_paragraph(paragraph: Sequence[Sequence[_Spoken]], sentence: Sequence[_Spoken]) -> bool:
    (last, before), (word, segment) = paragraph[-1][-1], sentence[0]
    return (
        len(paragraph) >= MAX_SENTENCES
        or word.start - last.end >= PARAGRAPH_GAP_S
        or before.speaker != segment.speaker
    )


def _paragraph_text(paragraphs: Sequence[dict[str, Any]]) -> str:
    """The paragraphs as text, each with its speaker if it is known."""
    texts = []
    for paragraph in paragraphs:
        text = " ".join(sentence["text"] for sentence in paragraph["sentences"])
        speaker = paragraph.get("speaker")
        texts.append(text if speaker is None else f"Speaker {speaker}: {text}")
    return "\n\n".join(texts)
