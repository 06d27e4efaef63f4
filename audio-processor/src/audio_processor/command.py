"""FFmpeg's command lines, built with ffmpeg-python. Pure.

The resampler is swresample with a Kaiser window of 64 taps, as accurate as soxr. A sample of its output
depends on only a few milliseconds of input. So the delay is short, and an FFmpeg started at any place of the
input gives the same samples (docs/decisions/0005).
"""

from typing import Any, Final

import ffmpeg

from audio_processor import timeline
from audio_processor.containers import DEMUXERS, WITHOUT_INDEX
from audio_processor.layout import ContainerLayout, Layout, PcmLayout
from audio_processor.timeline import Limits
from parlando.domain.audio import SAMPLE_RATE

_PACKETS: Final = 8  # divisor of the declared rate of raw PCM, so that packets have 10 ms instead of 80
_PROBE: Final = 16_384  # bytes within which FFmpeg must recognise the format, and find the audio …
_LONG_PROBE: Final = 1 << 20  # … or, in formats without an index, bytes within which it must find the audio
_LONG_PROBE_US: Final = 3600 * 1_000_000  # microseconds of a stream in which `probe` bytes are looked at
_GLOBAL: Final = ("-hide_banner", "-nostats", "-nostdin", "-copyts", "-max_error_rate", "1", "-loglevel")
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
    stereo: bool = False,
    level: str = "error",
    track: int = 0,
    limits: Limits = timeline.LIVE,
    section: tuple[int, int] | None = None,
    probe: int | None = None,
) -> list[str]:
    """The command that decodes `source` to 16 kHz mono s16le on standard output.

    `descriptor`: the open file to read, for `source` "fd:". `channel`: the only channel to decode; None to
    mix all. `form`: "s16le" or "wav". `split`: keep all channels instead of one. `stereo`: keep two channels
    of a container that has two or more. `level`: FFmpeg's log level.
    `track`: number of the audio track, from 0. `limits`: of the silence for timestamps, in a container.
    `section`: the bytes [start, end) of the file that are read. `probe`: bytes in which the audio is looked
    for; None for as many as the format needs.

    `-copyts`: FFmpeg neither moves the first timestamp to 0 nor closes up jumps; `timeline` does.
    No `-fflags nobuffer`: before 9.0 it drops the packets that FFmpeg has read to recognise its input.
    """
    options: dict[str, Any] = {
        "protocol_whitelist": _protocols(source, section),
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
            "probesize": probe or (_LONG_PROBE if layout.demuxer in WITHOUT_INDEX else _PROBE),
        }
        if probe:
            options["analyzeduration"] = _LONG_PROBE_US
        if layout.demuxer is not None:
            options["f"] = layout.demuxer
    if section is not None:
        source = f"subfile,,start,{section[0]},end,{section[1]},,:{source}"
    stream = ffmpeg.input(source, **options)[f"a:{track}"]
    if isinstance(layout, ContainerLayout):
        stream = stream.filter("asetpts", timeline.expression(limits))
    if not split:
        stream = _mono(stream, layout, channel, stereo=stereo)
    if isinstance(layout, PcmLayout):
        stream = stream.filter("asetrate", layout.rate).filter("aresample", SAMPLE_RATE, **_RESAMPLER)
    else:
        stream = stream.filter("aresample", SAMPLE_RATE, **_RESAMPLER, **timeline.RESAMPLER)
    if normalize:
        stream = _normalized(stream)
    written: dict[str, Any] = {"format": form, "acodec": "pcm_s16le", "ar": SAMPLE_RATE}
    if not split and not stereo:
        written["ac"] = 1
    out = stream.output("pipe:1", **written, flush_packets=1, fflags="+bitexact")
    command: list[str] = ffmpeg.compile(out.global_args(*_GLOBAL, f"repeat+{level}"), cmd=program)
    return command


def _protocols(source: str, section: tuple[int, int] | None) -> str:
    """FFmpeg's names of the protocols that it may use: that of the source only."""
    protocol = "fd" if source == "fd:" else source.partition(":")[0]
    return protocol if section is None else f"subfile,{protocol}"


def _normalized(stream: Any) -> Any:
    """High-pass at 70 Hz and limiter at 0.9; the limiter's delay is compensated.

    In double precision every version of FFmpeg computes the same samples. The limiter's own option to
    compensate its delay (`latency`) needs FFmpeg 5.1.
    """
    stream = stream.filter("aformat", sample_fmts="dblp").filter("highpass", f=70)
    stream = stream.filter("apad", pad_len=_LOOK_AHEAD).filter("alimiter", **_LIMITER)
    return stream.filter("atrim", start_sample=_LOOK_AHEAD)


def _mono(stream: Any, layout: Layout, channel: int | None, *, stereo: bool) -> Any:
    """One channel: the requested one, or all mixed with equal gain (in a container by FFmpeg's rules).

    `stereo`: two channels of a container that has two or more.
    """
    if isinstance(layout, PcmLayout) and layout.channels == 1:
        return stream
    if channel is not None:
        return stream.filter("pan", f"mono|c0<c{channel}")
    if isinstance(layout, ContainerLayout):
        return stream.filter("aformat", channel_layouts="mono|stereo" if stereo else "mono")
    mixed = "+".join(f"c{number}" for number in range(layout.channels))
    return stream.filter("pan", f"mono|c0<{mixed}")  # "<" normalises the gains to a sum of 1
