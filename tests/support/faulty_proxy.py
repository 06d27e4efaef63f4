"""A TCP proxy that cuts connections, or holds bytes back, after a number of bytes from the client."""

import contextlib
import socket
import threading
from typing import Final

BLOCK: Final = 1 << 16


class FaultyProxy:
    """Forwards to a port of this machine. Use as a context manager.

    `cut_after`: bytes of a connection after which it is reset; 0 for never. `open`: cleared, nothing is
    forwarded after `hold_after` bytes of all connections.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._server.getsockname()[1]
        self.cut_after = 0
        self.hold_after = 0
        self.open = threading.Event()
        self.open.set()
        self.held = threading.Event()
        self.cuts = 0
        self.forwarded = 0

    def __enter__(self) -> "FaultyProxy":
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *raised: object) -> None:
        self.open.set()
        self._server.close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
                gateway = socket.create_connection(("127.0.0.1", self._target))
            except ConnectionRefusedError:
                client.close()
                continue
            except OSError:
                return
            threading.Thread(target=self._inwards, args=(client, gateway), daemon=True).start()
            threading.Thread(target=self._outwards, args=(gateway, client), daemon=True).start()

    def _inwards(self, client: socket.socket, gateway: socket.socket) -> None:
        count = 0
        try:
            while data := client.recv(BLOCK):
                if self.hold_after and self.forwarded >= self.hold_after and not self.open.is_set():
                    self.held.set()
                    self.open.wait()
                gateway.sendall(data)
                count += len(data)
                self.forwarded += len(data)
                if self.cut_after and count >= self.cut_after:
                    self.cuts += 1
                    break
        except OSError:
            pass
        for each in (client, gateway):
            _close(each)

    def _outwards(self, gateway: socket.socket, client: socket.socket) -> None:
        try:
            while data := gateway.recv(BLOCK):
                client.sendall(data)
        except OSError:
            pass
        for each in (gateway, client):
            _close(each)


def _close(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
    connection.close()
