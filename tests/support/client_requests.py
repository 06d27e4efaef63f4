"""Multipart forms byte by byte as HTTP libraries write them, and the requests that programs make with them.

The shapes were read off the libraries and off the programs' source. The audio is always a WAV or PCM of ours:
which format a file has is found by its content, so a program's `.webm` name only is part of its shape.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

TRANSCRIPTIONS: Final = "/v1/audio/transcriptions"
OBSIDIAN: Final = "app://obsidian.md"
"""The origin of pages in Obsidian on a computer."""


@dataclass(frozen=True)
class Part:
    """One field. `filename`: of a file, None for text. `kind`: its content type, if the client states one."""

    name: str
    data: bytes
    filename: str | None = None
    kind: str | None = None


def text(name: str, value: str) -> Part:
    """A text field."""
    return Part(name, value.encode())


def _form(boundary: str, heads: Sequence[str], parts: Sequence[Part], *, end: str = "\r\n") -> bytes:
    """A form; `heads`: the header lines of each part."""
    pieces = [
        f"--{boundary}\r\n{head}\r\n\r\n".encode() + part.data + b"\r\n"
        for head, part in zip(heads, parts, strict=True)
    ]
    return b"".join(pieces) + f"--{boundary}--{end}".encode()


def _quoted(part: Part) -> str:
    file = "" if part.filename is None else f'; filename="{part.filename}"'
    return f'Content-Disposition: form-data; name="{part.name}"{file}'


def python(parts: Sequence[Part]) -> tuple[str, bytes]:
    """httpx and requests: a part has a type only if one is given or known from the name."""
    heads = [_quoted(part) + (f"\r\nContent-Type: {part.kind}" if part.kind else "") for part in parts]
    boundary = "7d2e4c1b9a0f48d3b6e5a1c2d3e4f506"
    return f"multipart/form-data; boundary={boundary}", _form(boundary, heads, parts)


def aiohttp(parts: Sequence[Part]) -> tuple[str, bytes]:
    """aiohttp: the type comes first, text has one too."""
    heads = [f"Content-Type: {part.kind or 'text/plain; charset=utf-8'}\r\n{_quoted(part)}" for part in parts]
    boundary = "b1946ac92492d2347c6235b4d2611184"
    return f"multipart/form-data; boundary={boundary}", _form(boundary, heads, parts)


def chromium(parts: Sequence[Part]) -> tuple[str, bytes]:
    """A browser's FormData."""
    boundary = "----WebKitFormBoundary7MA4YWxkTrZu0gW"
    heads = [_quoted(part) + (f"\r\nContent-Type: {part.kind}" if part.kind else "") for part in parts]
    return f"multipart/form-data; boundary={boundary}", _form(boundary, heads, parts)


def node(parts: Sequence[Part]) -> tuple[str, bytes]:
    """The package form-data, which axios uses in Node."""
    boundary = "-" * 26 + "515890814546601021194782"
    heads = [_quoted(part) + (f"\r\nContent-Type: {part.kind}" if part.kind else "") for part in parts]
    return f"multipart/form-data; boundary={boundary}", _form(boundary, heads, parts)


def guzzle(parts: Sequence[Part]) -> tuple[str, bytes]:
    """Guzzle (PHP): every part states its length."""
    boundary = "1f6b3bb8e5a2c94d7e0fa3c5b7d9e1f304a6c8ea"
    heads = [
        f"{_quoted(part)}\r\nContent-Length: {len(part.data)}"
        + (f"\r\nContent-Type: {part.kind}" if part.kind else "")
        for part in parts
    ]
    return f"multipart/form-data; boundary={boundary}", _form(boundary, heads, parts)


def dotnet(parts: Sequence[Part]) -> tuple[str, bytes]:
    """MultipartFormDataContent (.NET): quoted boundary, bare names if they are tokens, and `filename*`."""
    boundary = "2f1d6c7e-93b4-4a38-8a0e-5a1f0c9d7b62"
    heads = [f"Content-Type: {part.kind or 'text/plain; charset=utf-8'}\r\n{_bare(part)}" for part in parts]
    return f'multipart/form-data; boundary="{boundary}"', _form(boundary, heads, parts)


def _bare(part: Part) -> str:
    name = part.name if part.name.replace("_", "").isalnum() else f'"{part.name}"'
    if part.filename is None:
        return f"Content-Disposition: form-data; name={name}"
    encoded = {
        "über talk.wav": (
            '"=?utf-8?B?w7xiZXIgdGFsay53YXY=?="',
            "utf-8''%C3%BCber%20talk.wav",
        )
    }
    plain, extended = encoded.get(part.filename, (part.filename, f"utf-8''{part.filename}"))
    return f"Content-Disposition: form-data; name={name}; filename={plain}; filename*={extended}"


@dataclass(frozen=True)
class Call:
    """A program's request. `parts`: makes the fields from the audio. `raw`: the audio is headerless PCM."""

    form: Callable[[Sequence[Part]], tuple[str, bytes]]
    parts: Callable[[bytes], list[Part]]
    path: str = TRANSCRIPTIONS
    query: dict[str, str] = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)
    chunked: bool = False
    raw: bool = False


BEARER: Final = {"Authorization": "Bearer sk-local"}
CALLS: Final = {
    "openai-python": Call(
        python,
        lambda audio: [text("model", "whisper-1"), Part("file", audio, "talk.wav", "audio/x-wav")],
        headers={**BEARER, "Accept": "application/json", "X-Stainless-Lang": "python"},
    ),
    "open-webui": Call(
        python,
        lambda audio: [text("model", "whisper-1"), text("language", "en"), Part("file", audio, "7f0c.mp3")],
        headers={**BEARER, "X-OpenWebUI-User-Name": "A%20B"},
    ),
    "home-assistant-httpx": Call(
        python,
        lambda audio: [
            Part("file", audio, "whisper_audio.wav", "audio/wav"),
            text("model", "gpt-4o-mini-transcribe"),
            text("language", "en"),
            text("prompt", ""),
            text("temperature", "0"),
            text("response_format", "json"),
        ],
        headers=BEARER,
    ),
    "home-assistant-aiohttp": Call(
        aiohttp,
        lambda audio: [
            Part("file", audio, "audio.wav", "audio/wav"),
            text("model", "whisper-1"),
            text("language", "en-US"),
            text("temperature", "0.0"),
        ],
        headers=BEARER,
    ),
    "whisper-obsidian-plugin": Call(
        chromium,
        lambda audio: [
            Part("file", audio, "2026-11-27T10-00-00-000Z.webm", "audio/webm; codecs=opus"),
            text("model", "whisper-1"),
            text("language", "auto"),
            text("prompt", "names"),
        ],
        headers={**BEARER, "Origin": OBSIDIAN},
    ),
    "librechat": Call(
        node,
        lambda audio: [
            Part("file", audio, "audio.webm", "video/webm"),
            text("model", "whisper-1"),
            text("language", "en"),
        ],
        headers={**BEARER, "User-Agent": "axios/1.12.2"},
        chunked=True,
    ),
    "subtitle-edit": Call(
        dotnet,
        lambda audio: [
            Part("file", audio, "über talk.wav", "audio/wav"),
            text("model", "whisper-1"),
            text("language", "en"),
            text("response_format", "json"),
            text("timestamp_granularities[]", "segment"),
            text("timestamp_granularities[]", "word"),
        ],
    ),
    "php-guzzle": Call(
        guzzle,
        lambda audio: [
            Part("file", audio, "talk.wav", "audio/x-wav"),
            text("model", "whisper-1"),
            text("response_format", "verbose_json"),
            text("timestamp_granularities[0]", "word"),
        ],
        headers={**BEARER, "User-Agent": "GuzzleHttp/7"},
    ),
    "php-curl": Call(
        python,
        lambda audio: [
            text("model", "whisper-1"),
            Part("file", audio, "talk.wav", "application/octet-stream"),
        ],
        headers={**BEARER, "Expect": "100-continue"},
    ),
    "axios-indexes": Call(
        node,
        lambda audio: [
            Part("file", audio, "talk.wav", "audio/wave"),
            text("model", "whisper-1"),
            text("response_format", "verbose_json"),
            text("timestamp_granularities[0]", "word"),
            text("timestamp_granularities[1]", "segment"),
        ],
        headers={**BEARER, "User-Agent": "axios/1.12.2"},
    ),
    "bazarr": Call(
        python,
        lambda audio: [Part("audio_file", audio, "audio_file")],
        path="/asr",
        query={"task": "transcribe", "language": "en", "output": "srt", "encode": "false"},
        raw=True,
    ),
    "bazarr-for-subgen": Call(
        python,
        lambda audio: [Part("audio_file", audio, "audio_file")],
        path="/asr",
        query={
            "task": "transcribe",
            "language": "en",
            "output": "srt",
            "encode": "false",
            "video_file": "/tv/A B/1.mkv",
        },
        raw=True,
    ),
    "bazarr-detect-language": Call(
        python,
        lambda audio: [Part("audio_file", audio, "audio_file")],
        path="/detect-language",
        query={"encode": "false"},
        raw=True,
    ),
}
"""Program → its request."""
