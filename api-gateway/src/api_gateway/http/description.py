"""What `/docs` says of the WebSocket protocol, which OpenAPI can't describe."""

from typing import Final

DESCRIPTION: Final = """
Live speech to text. The REST routes are below; live audio goes over a WebSocket:

**`WS /v1/stt/stream`**. Query (all optional): `session_id`, `language`, `encoding` (`pcm_s16le`,
`pcm_f32le`, `mulaw`, `alaw`, `container`), `sample_rate` (16000), `channels` (1), `channel`, `normalize`,
`uid`, `title`, `interim`, `words`, `vad_silence_ms`, `prompt`, `token`, `resume`, `last_seq`.

You send binary frames with the audio bytes, or JSON:

| message | meaning |
|---|---|
| `{"type":"start", …}` | optional; the query's fields |
| `{"type":"audio","chunk":"<base64>","index":0}` | audio; `index` asks for an ack of this chunk |
| `{"type":"config","prompt":"…","language":"en"}` | from here on |
| `{"type":"flush"}` | settle what was sent; answered by `flushed` |
| `{"type":"ping"}` | answered by `pong` |
| `{"type":"end"}` | no more audio; the tail, then `closed` |

You get `connected`, `ack`, `speech_started`, `partial`, `final`, `status`, `flushed`, `pong`, `error`
and `closed`. In a `partial`, `stable` never changes again and `text` is all that is known; a `final`
is settled. Finals, `flushed` and `closed` carry a `seq`.

After a broken connection come back, to any gateway, with `session_id`, `resume` (the `resume_token` of
`connected`) and `last_seq`: the missed events follow, and you go on from sample `received`.

Close codes: 1000 done, 1003 not understood, 1008 not allowed, 1009 too big, 1011 our fault,
1013 at capacity, 4408 idle. An `error` message with the reason comes first.

Keys: `Authorization: Bearer <key>`, `X-API-Key`, `?token=`, or the subprotocols
`parlando, parlando-key.<key>`.
"""
