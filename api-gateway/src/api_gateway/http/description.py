"""The description of the WebSocket protocol for `/docs`, because OpenAPI can't describe it."""

from typing import Final

DESCRIPTION: Final = """
Live speech to text. The REST routes are below; live audio goes over a WebSocket:

**`WS /v1/stt/stream`**. Query (all optional): `session_id`, `language`, `encoding` (`pcm_s16le`,
`pcm_f32le`, `mulaw`, `alaw`, `container`), `sample_rate` (16000), `channels` (1), `channel`, `normalize`,
`uid`, `title`, `speaker`, `task`, `translations`, `interim`, `words`, `vad_silence_ms`, `prompt`,
`hotwords`, `token`, `resume`, `last_seq`.

The client sends binary frames with audio bytes, or JSON:

| message | meaning |
|---|---|
| `{"type":"start", …}` | optional; the query's fields |
| `{"type":"audio","chunk":"<base64>","index":0}` | audio; `index` requests an ack of this chunk |
| `{"type":"config","prompt":"…","language":"en"}` | changes the config for the audio that follows |
| `{"type":"flush"}` | settles the audio so far; answered by `flushed` |
| `{"type":"ping"}` | answered by `pong` |
| `{"type":"end"}` | no more audio; answered by the last finals and `closed` |

The server sends `connected`, `ack`, `speech_started`, `partial`, `final`, `language`, `status`, `flushed`,
`pong`, `error` and `closed`. In a `partial`, `text` is the whole hypothesis, and `stable` is the part of it
that doesn't change any more. A `final` is settled. Finals, `flushed` and `closed` have a `seq`.

To resume after a broken connection, connect to any gateway with `session_id`, `resume` (the `resume_token`
of `connected`) and `last_seq`. The server sends the missed events; send audio from sample `received` on.

Close codes: 1000 done, 1003 invalid message or audio, 1008 not allowed, 1009 too big, 1011 server error,
1013 at capacity, 4408 idle. An `error` message with the reason is sent first.

API keys: `Authorization: Bearer <key>`, `X-API-Key`, `?token=`, or the subprotocols
`parlando, parlando-key.<key>`. Tokens of `POST /v1/tokens` are sent like keys. Without the scope that a route
needs the answer is 403.
"""
