"""Transcripts as plain text or subtitles. No I/O."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from parlando.domain.transcript import FinalSegment, Transcript


class Format(StrEnum):
    """The formats of a transcript."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"


def _clock(seconds: float, mark: str) -> str:
    ms = round(seconds * 1000)
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    whole, ms = divmod(ms, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{mark}{ms:03d}"


def _spoken(transcript: Transcript) -> list[FinalSegment]:
    return [segment for segment in transcript.segments if segment.text]


def _line(segment: FinalSegment) -> str:
    return f"{segment.speaker}: {segment.text}" if segment.speaker else segment.text


def text(transcript: Transcript) -> str:
    """One line per segment."""
    return "".join(f"{_line(segment)}\n" for segment in _spoken(transcript))


def srt(transcript: Transcript) -> str:
    """SubRip: numbered cues, comma before the milliseconds."""
    return "\n".join(
        f"{number}\n{_clock(s.start, ',')} --> {_clock(s.end, ',')}\n{_line(s)}\n"
        for number, s in enumerate(_spoken(transcript), start=1)
    )


def vtt(transcript: Transcript) -> str:
    """WebVTT: header, dot before the milliseconds, `&`, `<` and `>` escaped, speakers as voice tags."""

    def escape(line: str) -> str:
        return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")

    def cue(s: FinalSegment) -> str:
        voice = f"<v {escape(s.speaker)}>" if s.speaker else ""
        return f"{_clock(s.start, '.')} --> {_clock(s.end, '.')}\n{voice}{escape(s.text)}\n"

    return "\n".join(["WEBVTT\n", *(cue(s) for s in _spoken(transcript))])


def tsv(transcript: Transcript) -> str:
    """Whisper's TSV: start and end in milliseconds, and the text, separated by tabs."""
    rows = (
        f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{_line(s).replace(chr(9), ' ')}\n"
        for s in _spoken(transcript)
    )
    return "".join(["start\tend\ttext\n", *rows])


FORMATS: Final[dict[Format, tuple[str, Callable[[Transcript], str]]]] = {
    Format.TEXT: ("text/plain; charset=utf-8", text),
    Format.SRT: ("application/x-subrip; charset=utf-8", srt),
    Format.VTT: ("text/vtt; charset=utf-8", vtt),
    Format.TSV: ("text/tab-separated-values; charset=utf-8", tsv),
    Format.JSON: ("application/json", lambda t: t.model_dump_json(exclude_none=True)),
}
"""Format → media type and writer."""
