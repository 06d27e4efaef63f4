"""FFmpeg's command lines, built with ffmpeg-python. Pure.

The resampler is swresample with a Kaiser window of 64 taps, as accurate as soxr. A sample of its output
depends on only a few milliseconds of input. So the delay is short, and an FFmpeg started at any place of the
input gives the same samples (docs/decisions/0005).
"""

import re
from typing import Any, Final

import ffmpeg

from audio_processor.layout import ContainerLayout, Layout, PcmLayout
from parlando.domain.audio import SAMPLE_RATE

DEMUXERS: Final = (
    "matroska,webm",
    "ogg",
    "mov,mp4,m4a,3gp,3g2,mj2",
    "mp3",
    "flac",
    "wav",
    "aac",
    "aiff",
    "au",
    "caf",
    "amr,amrnb,amrwb",
    "nistsphere",
    "w64",
    "mpegts",
)
"""Allowed demuxers: formats of audio in one file, none that refers to other files."""

DURATION: Final = re.compile(r"Duration: (?P<h>\d+):(?P<m>\d\d):(?P<s>\d\d\.\d+)")
"""FFmpeg's line, at log level info, with the duration in a file's header."""

_PACKETS: Final = 8  # divisor of the declared rate of raw PCM, so that packets have 10 ms instead of 80
_PROBE: Final = 16_384  # bytes within which FFmpeg must recognise the format
_GLOBAL: Final = ("-hide_banner", "-nostats", "-nostdin", "-max_error_rate", "1", "-loglevel")
_RESAMPLER: Final = {
    "resampler": "swr",
    "filter_type": "kaiser",
    "kaiser_beta": 11,
    "filter_size": 64,
    "cutoff": 0.95,
    "internal_sample_fmt": "fltp",
}
_LIMITER: Final = {"limit": 0.9, "attack": 5, "release": 50, "level": "disabled"}
_LOOK_AHEAD: Final = 79  # samples of the limiter's delay: its attack of 5 ms, less one sample


def decode(
    program: str,
    layout: Layout,
    *,
    source: str = "pipe:0",
    descriptor: int | None = None,
    channel: int | None = None,
    normalize: bool = False,
    form: str = "s16le",
    split: bool = False,
    level: str = "error",
) -> list[str]:
    """The command that decodes `source` to 16 kHz mono s16le on standard output.

    `descriptor`: the open file to read, for `source` "fd:". `channel`: the only channel to decode; None to
    mix all. `form`: "s16le" or "wav". `split`: keep all channels instead of one. `level`: FFmpeg's log level.

    No `-fflags nobuffer`: before 9.0 it drops the packets that FFmpeg has read to recognise its input.
    """
    options: dict[str, Any] = {
        "protocol_whitelist": "fd" if source == "fd:" else source.partition(":")[0],
        "analyzeduration": 0,
        "threads": 1,
    }
    if descriptor is not None:
        options["fd"] = descriptor
    if isinstance(layout, PcmLayout):
        options |= {
            "probesize": 32,
            "f": layout.codec,
            "ar": layout.rate // _PACKETS,
            "ac": layout.channels,
        }
    else:
        options |= {
            "format_whitelist": ",".join(DEMUXERS),
            "formatprobesize": _PROBE,
            "probesize": _PROBE,
        }
        if layout.demuxer is not None:
            options["f"] = layout.demuxer
    stream = ffmpeg.input(source, **options).audio
    if not split:
        stream = _mono(stream, layout, channel)
    if isinstance(layout, PcmLayout):
        stream = stream.filter("asetrate", layout.rate)
    stream = stream.filter("aresample", SAMPLE_RATE, **_RESAMPLER)
    if normalize:
        stream = _normalized(stream)
    written: dict[str, Any] = {"format": form, "acodec": "pcm_s16le", "ar": SAMPLE_RATE}
    if not split:
        written["ac"] = 1
    out = stream.output("pipe:1", **written, flush_packets=1, fflags="+bitexact")
    command: list[str] = ffmpeg.compile(out.global_args(*_GLOBAL, level), cmd=program)
    return command


def _normalized(stream: Any) -> Any:
    """High-pass at 70 Hz and limiter at 0.9; the limiter's delay is compensated.

    In double precision every version of FFmpeg computes the same samples. The limiter's own option to
    compensate its delay (`latency`) needs FFmpeg 5.1.
    """
    stream = stream.filter("aformat", sample_fmts="dblp").filter("highpass", f=70)
    stream = stream.filter("apad", pad_len=_LOOK_AHEAD).filter("alimiter", **_LIMITER)
    return stream.filter("atrim", start_sample=_LOOK_AHEAD)


def _mono(stream: Any, layout: Layout, channel: int | None) -> Any:
    """One channel: the requested one, or all mixed with equal gain (in a container by FFmpeg's rules)."""
    if isinstance(layout, PcmLayout) and layout.channels == 1:
        return stream
    if channel is not None:
        return stream.filter("pan", f"mono|c0<c{channel}")
    if isinstance(layout, ContainerLayout):
        return stream.filter("aformat", channel_layouts="mono")
    mixed = "+".join(f"c{number}" for number in range(layout.channels))
    return stream.filter("pan", f"mono|c0<{mixed}")  # "<" normalises the gains to a sum of 1
