"""Reads what FFmpeg prints about its input: its duration, its audio tracks, jumps of its timestamps. Pure."""

import re
from dataclasses import dataclass
from typing import Final

from audio_processor.timeline import LEAST_JUMP_S, Jumps, Limits
from parlando.domain import languages
from parlando.domain.audio import SAMPLE_RATE

_DURATION: Final = re.compile(r"^  Duration: (\d+):(\d\d):(\d\d\.\d+)")
_START: Final = re.compile(r"^  Duration: .*, start: (-?\d+\.\d+)")
_HEAD: Final = (
    r"^ {2,4}Stream #0:\d+(?:\[\w+\])?(?:\((?P<language>[\w-]+)\))?(?:\[\w+\])?: Audio: (?P<codec>\w+)"
)
_TRACK: Final = re.compile(_HEAD + r".*?, (?P<rate>\d+) Hz, (?P<layout>[^,]+)(?P<rest>.*)")
_SILENT_TRACK: Final = re.compile(_HEAD + r"(?P<rest>.*)")
_DESCRIBED: Final = ("Stream mapping:", "Output #0", "At least one output file")
_CHANNELS: Final = {
    "mono": 1,
    "stereo": 2,
    "2.1": 3,
    "3.0": 3,
    "4.0": 4,
    "quad": 4,
    "5.0": 5,
    "5.1": 6,
    "6.1": 7,
    "7.1": 8,
}


@dataclass(frozen=True, slots=True)
class Track:
    """An audio track. `language`: code of its tag, None without one. `default`: as the file marks it.

    `rate` in Hz; 0 if the header doesn't have it. `layout`: FFmpeg's name of its channels.
    """

    codec: str
    rate: int
    layout: str
    language: str | None
    default: bool

    @property
    def channels(self) -> int:
        """The number of channels; 0 if unknown."""
        counted = re.match(r"(\d+) channels?", self.layout)
        return int(counted[1]) if counted else _CHANNELS.get(self.layout.split("(")[0], 0)


class Report:
    """What FFmpeg has printed so far: jumps of the timestamps, and at log level info what its input is."""

    def __init__(self) -> None:
        self.jumps = Jumps()
        self.duration_s = 0.0
        """By the file's header; 0 if it has none."""
        self.start_s: float | None = None
        """The first timestamp of all tracks, such as the picture; None if it isn't known."""
        self.tracks: list[Track] = []
        self.described = False
        """Whether the description of the input is complete."""

    def note(self, line: str) -> bool:
        """Read a line. Returns whether it is no error message."""
        if self.jumps.note(line):
            return True
        if not self.described:
            self._describe(line)
        return not line.strip() or line.startswith(" ")

    def lead(self, limits: Limits) -> int:
        """Samples of silence before the first frame: the sound begins later than the picture."""
        first, start = self.jumps.first_s, self.start_s
        late_s = 0.0 if first is None or start is None else first - start
        return round(late_s * SAMPLE_RATE) if LEAST_JUMP_S < late_s <= limits.jump_s else 0

    def _describe(self, line: str) -> None:
        if line.startswith(_DESCRIBED):
            self.described = True
            return
        if found := _DURATION.match(line):
            hours, minutes, seconds = map(float, found.groups())
            self.duration_s = hours * 3600 + minutes * 60 + seconds
        if start := _START.match(line):
            self.start_s = float(start[1])
        if track := _TRACK.match(line) or _SILENT_TRACK.match(line):
            fields = track.groupdict()
            self.tracks.append(
                Track(
                    fields["codec"],
                    int(fields.get("rate") or 0),
                    (fields.get("layout") or "").strip(),
                    languages.code_of(fields["language"] or ""),
                    "(default)" in fields["rest"],
                )
            )
