"""The formats of transcripts: plain text, subtitles, tables and documents. No I/O."""

from collections.abc import Callable
from enum import StrEnum
from typing import Final

from parlando.domain.cues import DEFAULT, Cue, CueRules, Token, cues_of, text_of
from parlando.domain.documents import DOCX_TYPE, csv_of, docx_of
from parlando.domain.transcript import FinalSegment, Transcript, unbroken


class Format(StrEnum):
    """The formats of a transcript."""

    JSON = "json"
    TEXT = "text"
    SRT = "srt"
    VTT = "vtt"
    TSV = "tsv"
    ASS = "ass"
    KARAOKE = "karaoke"
    CSV = "csv"
    DOCX = "docx"


def _clock(seconds: float, mark: str) -> str:
    ms = round(seconds * 1000)
    hours, ms = divmod(ms, 3_600_000)
    minutes, ms = divmod(ms, 60_000)
    whole, ms = divmod(ms, 1000)
    return f"{hours:02d}:{minutes:02d}:{whole:02d}{mark}{ms:03d}"


def _spoken(transcript: Transcript) -> list[FinalSegment]:
    return unbroken([segment for segment in transcript.segments if segment.text])


def _line(segment: FinalSegment) -> str:
    return f"{segment.voice}: {segment.text}" if segment.voice else segment.text


def text(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    """One line per segment."""
    return "".join(f"{_line(segment)}\n" for segment in _spoken(transcript))


def one_line(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    """The text in one line; with speakers, one line per segment."""
    spoken = _spoken(transcript)
    return text(transcript) if any(segment.speaker for segment in spoken) else f"{transcript.text}\n"


def srt(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    """SubRip: numbered cues, comma before the milliseconds. A speaker's name begins each turn."""
    cues = cues_of(_spoken(transcript), rules, labels=True)
    return "\n".join(
        "\n".join([str(number), f"{_clock(cue.start, ',')} --> {_clock(cue.end, ',')}", *cue.texts, ""])
        for number, cue in enumerate(cues, start=1)
    )


def _escaped(line: str) -> str:
    return line.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _vtt(transcript: Transcript, rules: CueRules, write: Callable[[Cue], str]) -> str:
    def cue(cue: Cue) -> str:
        voice = f"<v {_escaped(cue.speaker)}>" if cue.speaker else ""
        return f"{_clock(cue.start, '.')} --> {_clock(cue.end, '.')}\n{voice}{write(cue)}\n"

    return "\n".join(["WEBVTT\n", *map(cue, cues_of(_spoken(transcript), rules))])


def vtt(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    """WebVTT: header, dot before the milliseconds, `&`, `<` and `>` escaped, speakers as voice tags."""
    return _vtt(transcript, rules, lambda cue: "\n".join(map(_escaped, cue.texts)))


def karaoke(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    """WebVTT with the time of each word, so that players mark the words as they are spoken."""

    def line(tokens: tuple[Token, ...], cue: Cue) -> str:
        parts = []
        for place, token in enumerate(tokens):
            space = "" if token.joined or not place else " "
            time = f"<{_clock(token.start, '.')}>" if cue.start < token.start < cue.end else ""
            parts.append(f"{space}{time}{_escaped(token.text)}")
        return "".join(parts)

    return _vtt(transcript, rules, lambda cue: "\n".join(line(tokens, cue) for tokens in cue.lines))


def ass(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    """Advanced SubStation Alpha, in one style; a cue's speaker is in its field `Name`."""

    def clock(seconds: float) -> str:
        hundredths = round(seconds * 100)
        minutes, hundredths = divmod(hundredths, 6000)
        return f"{minutes // 60}:{minutes % 60:02d}:{hundredths // 100:02d}.{hundredths % 100:02d}"

    def plain(line: str) -> str:
        return line.replace("\\", "/").replace("{", "(").replace("}", ")")

    def dialogue(cue: Cue) -> str:
        name = plain(cue.speaker or "").replace(",", " ")
        lines = "\\N".join(plain(text_of(line)) for line in cue.lines)
        return f"Dialogue: 0,{clock(cue.start)},{clock(cue.end)},Default,{name},0,0,0,,{lines}\n"

    return ASS_HEAD + "".join(map(dialogue, cues_of(_spoken(transcript), rules)))


ASS_HEAD: Final = """\
[Script Info]
ScriptType: v4.00+
PlayResX: 1920
PlayResY: 1080
WrapStyle: 2

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, \
Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, \
MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,60,&H00FFFFFF,&H000000FF,&H00000000,&H80000000,0,0,0,0,100,100,0,0,1,3,1,2,80,80,60,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def tsv(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    """Whisper's TSV: start and end of each segment in milliseconds, and the text, separated by tabs."""
    rows = (
        f"{round(s.start * 1000)}\t{round(s.end * 1000)}\t{_line(s).replace(chr(9), ' ')}\n"
        for s in _spoken(transcript)
    )
    return "".join(["start\tend\ttext\n", *rows])


def _csv(transcript: Transcript, rules: CueRules = DEFAULT) -> str:
    return csv_of(_spoken(transcript))


def _docx(transcript: Transcript, rules: CueRules = DEFAULT) -> bytes:
    return docx_of(_spoken(transcript), title=transcript.title or "", language=transcript.language)


Writer = Callable[[Transcript, CueRules], str | bytes]
FORMATS: Final[dict[Format, tuple[str, Writer]]] = {
    Format.TEXT: ("text/plain; charset=utf-8", text),
    Format.SRT: ("application/x-subrip; charset=utf-8", srt),
    Format.VTT: ("text/vtt; charset=utf-8", vtt),
    Format.TSV: ("text/tab-separated-values; charset=utf-8", tsv),
    Format.ASS: ("text/x-ssa; charset=utf-8", ass),
    Format.KARAOKE: ("text/vtt; charset=utf-8", karaoke),
    Format.CSV: ("text/csv; charset=utf-8; header=present", _csv),
    Format.DOCX: (DOCX_TYPE, _docx),
    Format.JSON: ("application/json", lambda t, _: t.model_dump_json(exclude_none=True)),
}
"""Format → media type and writer."""
