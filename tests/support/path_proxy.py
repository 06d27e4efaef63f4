"""A reverse proxy that publishes a gateway below a path, for HTTP and WebSockets."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress


@asynccontextmanager
async def path_proxy(
    port: int, path: str, *, strips: bool = True, headers: dict[str, str] | None = None
) -> AsyncIterator[str]:
    """Publish the server on `port` below `path`; yields the URL, with the path.

    `strips`: whether the server gets paths without `path`. `headers`: added to every request. A request for
    another path is answered with 404. Each connection carries one request.
    """
    extra = [f"{name}: {value}" for name, value in (headers or {}).items()]

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            method, target, version = first.split(" ")
            if target.split("?")[0] != path and not target.startswith(f"{path}/"):
                writer.write(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            else:
                kept = target.removeprefix(path) if strips else target
                upgrade = any(line.lower().startswith("upgrade:") for line in lines)
                if not upgrade:
                    lines = [line for line in lines if not line.lower().startswith("connection:")]
                    lines.append("Connection: close")
                rewritten = [f"{method} {kept if kept.startswith('/') else f'/{kept}'} {version}"]
                request = "\r\n".join([*rewritten, *lines, *extra, "", ""]).encode("latin-1")
                await _exchange(request, reader, writer)
        writer.close()

    async def _exchange(request: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
        far_writer.write(request)
        copies = [
            asyncio.create_task(_copy(reader, far_writer)),
            asyncio.create_task(_copy(far_reader, writer)),
        ]
        await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        if not copies[1].done() and not writer.is_closing() and not reader.at_eof():
            await copies[1]
        for copy in copies:
            copy.cancel()
        await asyncio.wait(copies)
        far_writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}{path}"
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
