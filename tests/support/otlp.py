"""A collector of OpenTelemetry spans on this machine."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from parlando import tracing
from support.ports import free_port


class Collector:
    """Receives spans as an OpenTelemetry collector does. `spans`: (service, span)."""

    def __init__(self, port: int) -> None:
        self.spans: list[tuple[str, object]] = []
        self.address = f"http://127.0.0.1:{port}"

    def take(self, body: bytes) -> None:
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            [service] = [
                each.value.string_value for each in resource.resource.attributes if each.key == "service.name"
            ]
            self.spans += [(service, span) for scope in resource.scope_spans for span in scope.spans]

    def of(self, sid: str) -> list[tuple[str, object]]:
        trace_id = tracing.ids(sid)[0].to_bytes(16)
        return [(service, span) for service, span in self.spans if span.trace_id == trace_id]


@contextmanager
def collector(port: int | None = None) -> Iterator[Collector]:
    """A collector on `port`, by default on a free one."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            received.take(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200 if self.path == "/v1/traces" else 404)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    port = port or free_port()
    received = Collector(port)
    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
