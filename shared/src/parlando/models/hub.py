"""Opens single files of the Hugging Face hub. A hub that doesn't answer is asked once."""

import os
import threading
import urllib.error
import urllib.request
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import IO, Any, Final

from parlando.errors import ModelError
from parlando.models.catalogue import HubSource

ANSWER_TIMEOUT_S: Final = 5  # from the request to the headers of the response
BLOCK_TIMEOUT_S: Final = 10  # between two blocks of a file
SHA256_DIGITS: Final = 64


@dataclass(frozen=True, slots=True)
class HubFile:
    """A file of the hub. `size` (bytes) and `sha256`: what the hub states; None if it doesn't."""

    stream: IO[bytes]
    size: int | None
    sha256: str | None


class Hub:
    """The hub at HF_ENDPOINT, or the public one. HF_HUB_OFFLINE=1 forbids to ask it."""

    def __init__(self) -> None:
        self.failure: str | None = None
        """Why the hub isn't asked any more."""

    def open(self, source: HubSource) -> HubFile:
        """Request a file. The caller closes its stream.

        Raises
        ------
        ModelError
            if the hub doesn't have the file, or doesn't answer within `ANSWER_TIMEOUT_S`. In the second case
            every further call fails at once.

        """
        if os.environ.get("HF_HUB_OFFLINE", "0") not in {"", "0"}:
            raise ModelError("HF_HUB_OFFLINE is set")
        if self.failure is not None:
            raise ModelError(self.failure)
        base = os.environ.get("HF_ENDPOINT", "https://huggingface.co").rstrip("/")
        url = f"{base}/{source.repository}/resolve/main/{source.path}"
        # In a thread, because neither the resolution of a name nor the attempts to connect to each of its
        # addresses can be limited in time as a whole.
        answers: SimpleQueue[HubFile | Exception] = SimpleQueue()
        threading.Thread(target=_request, args=(url, answers), daemon=True).start()
        try:
            answer = answers.get(timeout=ANSWER_TIMEOUT_S)
        except Empty:
            answer = TimeoutError(f"no answer within {ANSWER_TIMEOUT_S} s")
        if isinstance(answer, urllib.error.HTTPError):
            raise ModelError(f"HTTP status {answer.code}")  # it answers, but doesn't have this file
        if isinstance(answer, Exception):
            self.failure = str(getattr(answer, "reason", answer))  # of an URLError, what it wraps
            raise ModelError(self.failure) from answer
        return answer


def _request(url: str, answers: "SimpleQueue[HubFile | Exception]") -> None:
    linked = _LinkedFile()
    try:
        response = urllib.request.build_opener(linked).open(url, timeout=BLOCK_TIMEOUT_S)
    except Exception as error:  # urllib and http.client raise many types; the caller raises it again
        answers.put(error)
        return
    size = response.headers.get("Content-Length")
    answers.put(HubFile(response, int(size) if size else None, linked.sha256))


class _LinkedFile(urllib.request.HTTPRedirectHandler):
    """Follows the hub's redirect to a large file, whose `X-Linked-ETag` header is the file's SHA-256."""

    sha256: str | None = None

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        """See the base class."""
        found = headers.get("X-Linked-ETag", "").strip('"')
        self.sha256 = self.sha256 or (found if len(found) == SHA256_DIGITS else None)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
