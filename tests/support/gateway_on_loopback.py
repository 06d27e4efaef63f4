"""A gateway that is played: HTTPS on the loopback interface, details of its health with a key only."""

import json
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from support.tls import certificate

HEALTH = {"status": "healthy", "version": "1.2", "pools": [{"name": "p", "workers": 1}]}


@contextmanager
def played_gateway(folder: Path, *, key: str) -> Iterator[int]:
    """The port of a gateway whose certificate signs itself, with its files in `folder`."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            reads = self.headers["authorization"] == f"Bearer {key}"
            health = HEALTH if reads else {"status": "healthy"}
            body = json.dumps({"ready": True} if self.path == "/ready" else health).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate(folder))
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
