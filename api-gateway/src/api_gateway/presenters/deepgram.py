"""Transcripts in the formats of Deepgram's API. Pure.

Source: Deepgram's API description, and the types of its Python library.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from parlando.domain.transcript import UNSPACED, FinalSegment, TimedWord, join

PUNCTUATION: Final = ".,;:!?…\"'()[]{}«»„“”‘’¿¡—–-。、，！？；：「」『』"
SENTENCE_END: Final = (".", "!", "?", "…", "。", "！", "？")
MAX_SENTENCES: Final = 5  # of a paragraph
PARAGRAPH_GAP_S: Final = 2.0  # silence that begins a new paragraph
_SPEAKER = re.compile(r"SPEAKER_(\d{1,4})")


@dataclass(frozen=True, slots=True)
class Style:
    """How text is written. `punctuated`: with punctuation and capitals, else neither.

    `speakers`: words have the number of their speaker. `languages`: words have their language.
    """

    punctuated: bool = True
    speakers: bool = False
    languages: bool = False


def plain(word: str) -> str:
    """A word without capitals and surrounding punctuation."""
    return word.strip(PUNCTUATION).lower()


def written(text: str, language: str | None, style: Style) -> str:
    """A text in a style."""
    if style.punctuated:
        return text
    if language in UNSPACED:
        return "".join(character for character in text if character not in PUNCTUATION).lower()
    return " ".join(filter(None, map(plain, text.split())))


def speaker_number(speaker: str | None) -> int | None:
    """The number in a label of the form `SPEAKER_00`; None for any other."""
    numbered = _SPEAKER.fullmatch(speaker or "")
    return int(numbered[1]) if numbered else None


def estimated(text: str, start: float, end: float, confidence: float | None) -> list[TimedWord]:
    """The words of a text without word times, each with a share of the time by its length."""
    words = text.split()
    total = sum(len(word) for word in words)
    found, at = [], 0
    for word in words:
        begin = start + (end - start) * at / total
        at += len(word)
        until = start + (end - start) * at / total
        found.append(TimedWord(word=word, start=round(begin, 3), end=round(until, 3), confidence=confidence))
    return found


def timed_words(segment: FinalSegment) -> list[TimedWord]:
    """A segment's words; with estimated times if the engine reports none."""
    if segment.words:
        return list(segment.words)
    return estimated(segment.text, segment.start, segment.end, segment.confidence)


def word_fields(word: TimedWord, segment: FinalSegment, style: Style) -> dict[str, Any]:
    """One word. An unknown confidence counts as 1, because the field is required."""
    fields: dict[str, Any] = {
        "word": plain(word.word) or word.word,
        "start": word.start,
        "end": word.end,
        "confidence": _confidence(word.confidence, segment.confidence),
        "punctuated_word": word.word,
    }
    number = speaker_number(segment.speaker)
    if style.speakers and number is not None:
        fields["speaker"] = number
    if style.languages and segment.language:
        fields["language"] = segment.language
    return fields


def _confidence(*known: float | None) -> float:
    return next((value for value in known if value is not None), 1.0)


def alternative(segments: Sequence[FinalSegment], style: Style) -> dict[str, Any]:
    """The only alternative of a result: the text of segments, with their words."""
    spoken = [segment for segment in segments if segment.text]
    language = next((segment.language for segment in spoken if segment.language), None)
    words = [word_fields(word, segment, style) for segment in spoken for word in timed_words(segment)]
    found: dict[str, Any] = {
        "transcript": join((written(segment.text, segment.language, style) for segment in spoken), language),
        "confidence": _mean([_confidence(segment.confidence) for segment in spoken]),
        "words": words,
    }
    if style.languages:
        found["languages"] = _by_frequency(word.get("language") for word in words)
    return found


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 4) if values else 0.0


def _by_frequency(languages: Iterable[str | None]) -> list[str]:
    known = [language for language in languages if language]
    return sorted(dict.fromkeys(known), key=lambda language: -known.count(language))


def model_info(engine: str | None, model: str | None) -> dict[str, str]:
    """The model that is used: the pool's name, model and engine."""
    return {
        "name": f"{engine or 'unknown'}-{model or 'unknown'}",
        "version": "1",
        "arch": engine or "unknown",
    }


def error(code: str, message: str, request_id: str) -> dict[str, str]:
    """The body of an error."""
    return {"err_code": code, "err_msg": message, "request_id": request_id}


def warnings(not_honoured: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The parameters that aren't honoured, with what is done instead."""
    return [
        {"parameter": name, "type": "unsupported_parameter", "message": message}
        for name, message in not_honoured
    ]


# --- recorded files ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a response about a recorded file contains.

    `channels`: the segments of each. `utterance_gap_s`: silence between two utterances; None for none.
    `paragraphs`: whether there are paragraphs. `detected`: whether the language was to be detected.
    """

    request_id: str
    sha256: str
    created: str
    duration: float
    channels: Sequence[Sequence[FinalSegment]]
    model: dict[str, str]
    style: Style
    utterance_gap_s: float | None = None
    paragraphs: bool = False
    detected: bool = False
    not_honoured: Sequence[tuple[str, str]] = ()
    extra: dict[str, str] | None = None
    tags: Sequence[str] = ()


def recorded(file: Recorded) -> dict[str, Any]:
    """The response to the transcription of a recorded file."""
    channels = [_channel(segments, file) for segments in file.channels]
    metadata: dict[str, Any] = {
        "transaction_key": "deprecated",
        "request_id": file.request_id,
        "sha256": file.sha256,
        "created": file.created,
        "duration": file.duration,
        "channels": len(file.channels),
        "models": [file.model["name"]],
        "model_info": {file.model["name"]: file.model},
    }
    if file.not_honoured:
        metadata["warnings"] = warnings(file.not_honoured)
    if file.extra:
        metadata["extra"] = file.extra
    if file.tags:
        metadata["tags"] = list(file.tags)
    results: dict[str, Any] = {"channels": channels}
    if file.utterance_gap_s is not None:
        results["utterances"] = [
            utterance
            for number, segments in enumerate(file.channels)
            for utterance in _utterances(segments, number, file)
        ]
        results["utterances"].sort(key=lambda utterance: utterance["start"])
    return {"metadata": metadata, "results": results}


def _channel(segments: Sequence[FinalSegment], file: Recorded) -> dict[str, Any]:
    found = alternative(segments, file.style)
    if file.paragraphs:
        found["paragraphs"] = _paragraphs(segments, file.style)
    channel: dict[str, Any] = {"alternatives": [found]}
    if file.detected:
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


def _utterances(segments: Sequence[FinalSegment], channel: int, file: Recorded) -> list[dict[str, Any]]:
    spoken = _spoken(segments)
    gap = file.utterance_gap_s or 0.0
    splits = [
        later.start - word.end >= gap or one.speaker != other.speaker
        for (word, one), (later, other) in pairwise(spoken)
    ]
    found = []
    for number, group in enumerate(_grouped(spoken, splits)):
        words = [word_fields(word, segment, file.style) for word, segment in group]
        utterance = {
            "start": group[0][0].start,
            "end": group[-1][0].end,
            "confidence": _mean([word["confidence"] for word in words]),
            "channel": channel,
            "transcript": _text(group, file.style),
            "words": words,
            "id": f"{file.request_id}-{channel}-{number}",
        }
        speaker = speaker_number(group[0][1].speaker)
        if file.style.speakers and speaker is not None:
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
