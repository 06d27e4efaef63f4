"""The pure parts of what takes audio in: layouts, command lines, signatures, clocks, windows."""

import re
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api_gateway.deliveries.signature import secrets_for, sign, verify
from api_gateway.doors.base import Ack, Audio, Ping
from api_gateway.doors.omi_socket import OmiSocket
from api_gateway.handshake import Handshake
from api_gateway.settings import GatewaySettings
from audio_processor import command
from audio_processor.layout import ContainerLayout, PcmLayout, sniff
from parlando.domain.audio import WholeFrames
from parlando.domain.commands import End
from parlando.domain.wallclock import Burst, WallClock
from parlando.errors import InvalidAudioError, InvalidRequestError
from support.events import final, partial
from transcriber.pipeline.batching import BatchCollector, BatchOptions
from transcriber.settings import TranscriberSettings


def _wav(
    *, before: bytes = b"", size: int = 8, tag: int = 1, bits: int = 16, extensible: bool = False
) -> bytes:
    form = struct.pack("<HHIIHH", 0xFFFE if extensible else tag, 2, 44_100, 0, 0, bits)
    if extensible:
        form += struct.pack("<HHIH", 22, bits, 3, tag) + bytes(14)
    head = b"WAVE" + before + b"fmt " + struct.pack("<I", len(form)) + form
    return b"RIFF\0\0\0\0" + head + b"data" + struct.pack("<I", size) + bytes(8)


@pytest.mark.parametrize(
    ("head", "layout"),
    [
        (_wav(), PcmLayout("s16le", 44_100, 2, 44, 8)),
        (_wav(size=0xFFFFFFFF), PcmLayout("s16le", 44_100, 2, 44, None)),
        (_wav(size=0), PcmLayout("s16le", 44_100, 2, 44, None)),
        (_wav(before=b"LIST\x03\0\0\0abc\0"), PcmLayout("s16le", 44_100, 2, 56, 8)),
        (_wav(tag=3, bits=32), PcmLayout("f32le", 44_100, 2, 44, 8)),
        (_wav(bits=24, extensible=True), PcmLayout("s24le", 44_100, 2, 68, 8)),
        (_wav(tag=2, bits=4), ContainerLayout("wav")),
        (b"\x1aE\xdf\xa3" + bytes(20), ContainerLayout("matroska")),
        (b"OggS" + bytes(20), ContainerLayout("ogg")),
        (b"\0\0\0\x20ftypM4A " + bytes(20), ContainerLayout("mov")),
        (b"\xff\xf1" + bytes(20), ContainerLayout("aac")),
        (b"\xff\xfb" + bytes(20), ContainerLayout("mp3")),
        (b"ID3\4\0\0\0\0\0\x0a" + bytes(10) + b"fLaC", ContainerLayout("flac")),
        (b"ID3\4\0\0\0\0\0\x0a" + bytes(30), ContainerLayout("mp3")),
        (b"ID3\4\0\0\0\0\2\x0a" + bytes(30), None),
        (b"ID3\4\0\0\x7f\0\0\0" + bytes(30), ContainerLayout("mp3")),
        (b"something else entirely", ContainerLayout(None)),
    ],
)
def test_the_first_bytes_tell_what_a_stream_is(head, layout):
    assert sniff(head, complete=False) == layout


def test_a_wav_is_decided_only_when_its_samples_begin():
    head = _wav(before=b"LIST\x40\0\0\0" + bytes(64))
    decided = [length for length in range(len(head)) if sniff(head[:length], complete=False) is not None]

    assert min(decided) == head.index(b"data") + 8
    with pytest.raises(InvalidAudioError, match="no data chunk"):
        sniff(head[:60], complete=True)


@given(st.binary(max_size=200))
def test_any_bytes_have_a_layout_or_an_error_of_ours(head):
    try:
        assert sniff(head, complete=True) is not None
    except InvalidAudioError:
        return


def test_ffmpeg_may_open_nothing_but_its_input():
    for layout in (PcmLayout("s16le", 48_000, 2), ContainerLayout("mov"), ContainerLayout(None)):
        line = command.decode("ffmpeg", layout)
        assert line[line.index("-protocol_whitelist") + 1] == "pipe"
        assert line.count("-i") == 1
        if isinstance(layout, ContainerLayout):
            allowed = line[line.index("-format_whitelist") + 1].split(",")
            assert not {"hls", "concat", "dash", "sdp", "lavfi", "image2", "imf"} & set(allowed)


def test_a_channel_is_chosen_or_all_are_mixed_alike():
    def pan(layout, **options) -> str | None:
        graph = command.decode("ffmpeg", layout, **options)
        found = re.search(r"pan=mono\|c0<([c0-9+]+)", graph[graph.index("-filter_complex") + 1])
        return found and found[1]

    assert pan(PcmLayout("s16le", 48_000, 3)) == "c0+c1+c2"
    assert pan(PcmLayout("s16le", 48_000, 3), channel=1) == "c1"
    assert pan(PcmLayout("s16le", 48_000, 1)) is None
    assert pan(ContainerLayout("ogg"), channel=1) == "c1"


@given(st.lists(st.binary(max_size=30)), st.integers(1, 16))
def test_whole_frames_are_the_stream_cut_at_frames(parts, size):
    frames = WholeFrames(size)
    out = [frames.push(part) for part in parts]
    whole = b"".join(parts)

    assert all(len(part) % size == 0 for part in out)
    assert b"".join(out) == whole[: len(whole) // size * size]


def test_signatures_hold_for_body_user_and_five_minutes():
    header = sign("whsec_a", "anna", b"body", at=1000)

    assert verify(header, ["whsec_b", "whsec_a"], "anna", b"body", now=1299)
    assert verify(header + ",v1=00", ["whsec_a"], "anna", b"body", now=1000), "two while it is rotated"
    for secrets, uid, body, now in (
        (["whsec_b"], "anna", b"body", 1000),
        (["whsec_a"], "bob", b"body", 1000),
        (["whsec_a"], "anna", b"bodY", 1000),
        (["whsec_a"], "anna", b"body", 1301),
        ([], "anna", b"body", 1000),
    ):
        assert not verify(header, secrets, uid, body, now=now)
    for odd in ("t=²,v1=00", "t=٣,v1=00", f"t={'9' * 5000},v1=00", "t=,v1=00", "t=-1,v1=00"):
        assert not verify(odd, ["whsec_a"], "anna", b"body", now=1000)
    assert not verify("nonsense", ["whsec_a"], "anna", b"body", now=1000)


@given(st.text(max_size=80))
def test_any_signature_header_is_right_or_wrong(header):
    assert verify(header, ["whsec_a"], "anna", b"body", now=1000) is False


def test_a_secret_may_belong_to_one_user():
    configured = ("whsec_all", "anna=whsec_anna")

    assert secrets_for(configured, "anna") == ["whsec_all", "whsec_anna"]
    assert secrets_for(configured, "bob") == ["whsec_all"]


def test_the_wall_clock_stands_still_in_no_gap():
    """Two bursts of 5 s; between them 60 s of silence that nobody sent."""
    clock = WallClock([Burst(0, 105_000), Burst(5_000, 170_000)], end_ms=10_000, opened_ms=0)

    assert [clock.at(s) for s in (0, 2, 5, 10)] == [100_000, 102_000, 165_000, 170_000]


def test_bursts_that_come_late_never_overlap():
    clock = WallClock([Burst(0, 10_000), Burst(5_000, 10_100)], end_ms=10_000, opened_ms=0)

    assert clock.at(4.999) <= clock.at(5.0)
    assert WallClock([], end_ms=0, opened_ms=42).at(1.5) == 1542


def test_a_window_opens_by_time_by_size_and_at_the_end():
    collector = BatchCollector(BatchOptions(window_s=60, limit=1000))
    collector.observe(received=10, read=0, ending=False, now=0)
    collector.observe(received=20, read=0, ending=False, now=59)
    assert not collector.opens(0)
    collector.observe(received=30, read=0, ending=False, now=60)
    assert collector.opens(29)
    assert not collector.opens(30)

    collector.observe(received=1029, read=30, ending=False, now=61)
    assert not collector.opens(30)
    collector.observe(received=1030, read=30, ending=False, now=62)
    assert collector.opens(30)

    collector.observe(received=1031, read=1030, ending=True, now=63)
    assert collector.opens(1030)


def test_omi_gets_finals_and_nothing_else():
    omi = OmiSocket(Handshake())

    assert omi.read(b"\1\2") == [Audio(b"\1\2")]
    assert omi.read('{"type":"CloseStream"}') == [End()]
    assert omi.read('{"type":"KeepAlive"}') == [Ping()]
    for wrong in ("", "[]", '{"type":"Flush"}'):
        with pytest.raises(InvalidRequestError):
            omi.read(wrong)
    assert not omi.notice(Ack({"received": 1}, 0, 0))
    assert not omi.event(partial(0, "a"))
    assert not omi.event(final())
    assert omi.event(final(text="Hi.", start=0.5, end=1.5)) == [
        '{"segments":[{"text":"Hi.","speaker":"SPEAKER_00","start":0.5,"end":1.5}]}'
    ]


def test_the_settings_of_the_guides_are_understood(monkeypatch):
    """Names that both guides promise."""
    for name, value in {
        "API_KEY": "one",
        "GROQ_API_KEY": "gsk",
        "R2_ACCOUNT_ID": "acc",
        "R2_ACCESS_KEY_ID": "id",
        "R2_SECRET_ACCESS_KEY": "secret",
        "BATCH_DURATION_SECONDS": "60",
        "MAX_BATCH_SIZE_MB": "10",
        "PORT": "8080",
    }.items():
        monkeypatch.setenv(name, value)
    gateway, worker = GatewaySettings(), TranscriberSettings()

    assert gateway.api_keys == ("one",)
    assert (gateway.r2_account_id, gateway.archive_access_key_id) == ("acc", "id")
    assert gateway.archive_secret_access_key == "secret"
    assert gateway.port == 8080
    assert worker.openai_api_key == "gsk"
    assert worker.batch == BatchOptions(60, 10 * (1 << 20) // 2)
