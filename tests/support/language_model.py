"""A stand-in for a language model's endpoint with OpenAI's chat API: streams answers that a test scripts."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from support.endpoint import Server, served

Answer = Callable[[str, dict[str, Any]], Any]
"""(name of the schema, data of the request) → the answer as an object, a string to send as it is, a
(status, headers, body), or an Exception to break the stream off after its first piece."""

SIZE = 12  # characters of a streamed piece


def stream_of(text: str, *, broken: bool = False) -> bytes:
    """The body of a streamed answer."""
    pieces = [text[at : at + SIZE] for at in range(0, len(text), SIZE)]
    chunks: list[dict[str, Any]] = [{"choices": [{"index": 0, "delta": {"content": p}}]} for p in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    usage = {"prompt_tokens": 100, "completion_tokens": len(pieces), "total_tokens": 100 + len(pieces)}
    chunks.append({"choices": [], "usage": usage})
    if broken:
        chunks = chunks[:1]
    common = {"id": "c", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    lines = [f"data: {json.dumps({**common, **chunk})}\n\n" for chunk in chunks]
    return "".join([*lines, "" if broken else "data: [DONE]\n\n"]).encode()


def faithful(schema: str, data: dict[str, Any]) -> Any:
    """Answers as a model would that does exactly what it is told."""
    match schema:
        case "translatedlines":
            return {"translations": [line["text"].upper() for line in data["lines"]]}
        case "summarised":
            parts = data.get("transcript") or data["summaries"]
            return {"summary": f"A summary of {len(parts)} parts.", "points": ["One."]}
        case "insights":
            return {"insights": [{"kind": "fact", "text": f"{len(data['transcript'])} lines."}]}
    raise AssertionError(schema)


@contextmanager
def language_model(answer: Answer = faithful) -> Iterator[Server]:
    """The endpoint. `url` is its base URL without `/v1`."""

    def respond(number: int, body: bytes) -> tuple[int, dict[str, str], bytes]:
        request = json.loads(body)
        data = json.loads(request["messages"][1]["content"])
        schema = request.get("response_format", {}).get("json_schema", {}).get("name", "")
        found = answer(schema, data)
        if isinstance(found, tuple):
            return found
        if isinstance(found, Exception):
            return 200, {"Content-Type": "text/event-stream"}, stream_of("{", broken=True)
        text = found if isinstance(found, str) else json.dumps(found)
        return 200, {"Content-Type": "text/event-stream"}, stream_of(text)

    with served(respond) as server:
        yield server
