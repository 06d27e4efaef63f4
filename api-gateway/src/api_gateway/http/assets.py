"""The web app's files, held in memory, compressed and with validators.

They are read once, when the gateway starts; after a change of a file restart it.
"""

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import Response

TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".webmanifest": "application/manifest+json",
}
_PACKED: Final = frozenset({".css", ".html", ".js", ".svg", ".webmanifest"})
_IMPORT: Final = re.compile(r'^(?:import|export)\b[^;]*?"\./([\w-]+\.js)"', re.MULTILINE)
_SCRIPT: Final = re.compile(r'<script type="module" src="([./]*app/)([\w-]+\.js)"></script>')
WORKER: Final = "service-worker.js"


@dataclass(frozen=True, slots=True)
class Asset:
    """A file as it is sent: plain, and compressed by gzip if that makes it smaller."""

    body: bytes
    packed: bytes | None
    media_type: str

    @classmethod
    def of(cls, body: bytes, suffix: str) -> "Asset":
        """The asset of a file's content. `suffix`: of its name."""
        packed = gzip.compress(body, 9, mtime=0) if suffix in _PACKED else None
        return cls(body, packed if packed and len(packed) < len(body) else None, TYPES[suffix])

    @property
    def digest(self) -> str:
        """The SHA-256 of the content as Subresource Integrity writes it."""
        return f"sha256-{base64.b64encode(hashlib.sha256(self.body).digest()).decode()}"

    def response(self, request: Headers, headers: Mapping[str, str]) -> Response:
        """The answer to a GET or HEAD; 304 if the client has this version. `headers`: to add."""
        packed = self.packed if "gzip" in request.get("accept-encoding", "") else None
        etag = f'"{self.digest[7:29]}{"-gzip" if packed else ""}"'
        sent = {**headers, "ETag": etag, "Vary": "Accept-Encoding"}
        known = [each.strip().removeprefix("W/") for each in request.get("if-none-match", "").split(",")]
        if etag in known:
            return Response(status_code=304, headers=sent)
        if packed:
            sent["Content-Encoding"] = "gzip"
        return Response(packed or self.body, headers=sent, media_type=self.media_type)


class Assets:
    """All files of the web app by name, and its service worker."""

    def __init__(self, folder: Path) -> None:
        contents = {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix in TYPES}
        worker = contents.pop(WORKER)
        for name in [each for each in contents if each.endswith(".html")]:
            contents[name] = preloading(contents[name].decode(), contents).encode()
        self.files = {name: Asset.of(body, Path(name).suffix) for name, body in contents.items()}
        self.worker = Asset.of(self._worker(worker.decode()).encode(), ".js")

    def _worker(self, source: str) -> str:
        """The service worker with the names and digests of what it caches, so that each change changes it."""
        shell = {f"app/{name}": each.digest for name, each in self.files.items() if ".html" not in name}
        shell["./"] = self.files["index.html"].digest
        shell["watch/-"] = self.files["watch.html"].digest
        version = hashlib.sha256((json.dumps(shell, sort_keys=True) + source).encode()).hexdigest()[:16]
        head = f"const VERSION = {json.dumps(version)};\nconst SHELL = {json.dumps(shell, indent=1)};\n"
        return head + source


def preloading(page: str, files: Mapping[str, bytes]) -> str:
    """The page with links that preload all modules that its scripts import.

    Without them a browser would find the imports of each module only when it has that module, one round
    trip after the other.
    """
    scripts = _SCRIPT.findall(page)
    if not scripts:
        return page
    found: list[str] = []
    waiting = [name for _, name in scripts]
    while waiting:
        name = waiting.pop(0)
        if name not in found and name in files:
            found.append(name)
            waiting += _IMPORT.findall(files[name].decode())
    prefix = scripts[0][0]
    links = "".join(f'    <link rel="modulepreload" href="{prefix}{name}" />\n' for name in found)
    return page.replace("  </head>", f"{links}  </head>", 1)
