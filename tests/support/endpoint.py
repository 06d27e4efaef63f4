"""Stand-ins for external servers: one records its requests, one has OpenAI's transcription API."""

import http.server
import io
import json
import threading
import wave
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

from parlando.domain.audio import SAMPLE_RATE
from transcriber.engines.base import Engine, Window


class Server:
    """Records requests and answers as configured."""

    def __init__(self, answer) -> None:
        self.requests: list[tuple[str, dict[str, str], bytes]] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}, body))
                status, headers, said = answer(len(outer.requests), body)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(said))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(said)

            def log_message(self, *args) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@contextmanager
def served(answer) -> Iterator[Server]:
    server = Server(answer)
    yield server
    server.server.shutdown()


class Endpoint:
    """An OpenAI-compatible endpoint that transcribes with `engine`. Its first `busy` answers are 429."""

    def __init__(self, engine: Engine, *, busy: int = 0) -> None:
        self.seconds: list[float] = []
        self._engine = engine
        self._busy = busy
        self._lock = threading.Lock()

    def __call__(self, number: int, body: bytes) -> tuple[int, dict[str, str], bytes]:
        if number <= self._busy:
            slow = b'{"error":{"message":"slow down","type":"rate_limit","param":null,"code":null}}'
            return 429, {"Retry-After": "1", "Content-Type": "application/json"}, slow
        with wave.open(io.BytesIO(body[body.index(b"RIFF") :])) as file:
            samples = np.frombuffer(file.readframes(file.getnframes()), "<i2") / np.float32(32768)
        length = len(samples) / SAMPLE_RATE
        with self._lock:
            self.seconds.append(length)
            window = Window(samples, words=b"word" in body, final=True, voiced_s=length)
            heard = self._engine.transcribe([window])[0]
        segment = {
            "id": 0,
            "seek": 0,
            "start": 0.0,
            "end": length,
            "text": f" {heard.text}",
            "tokens": [],
            "temperature": 0.0,
            "avg_logprob": -0.1,
            "compression_ratio": 1.0,
            "no_speech_prob": 0.01,
        }
        said = {
            "task": "transcribe",
            "language": "english",
            "duration": length,
            "text": heard.text,
            "segments": [segment] if heard.text else [],
            "words": [{"word": w.text, "start": w.start or 0.0, "end": w.end or 0.0} for w in heard.words],
        }
        return 200, {"Content-Type": "application/json"}, json.dumps(said).encode()
