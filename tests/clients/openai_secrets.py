"""OpenAI's Python library makes client secrets.

openai_secrets.py <base url> <key> <session, JSON>. Prints the answers.
"""

import json
import sys

import openai
from openai import OpenAI

base, key, session = sys.argv[1:]
client = OpenAI(base_url=base, api_key=key, max_retries=0)
secret = client.realtime.client_secrets.create(
    expires_after={"anchor": "created_at", "seconds": 60}, session=json.loads(session)
)
print(
    json.dumps({"value": secret.value, "expires_at": secret.expires_at, "session": secret.session.to_dict()})
)
beta = client.beta.realtime.transcription_sessions.create(
    input_audio_format="g711_ulaw", input_audio_transcription={"model": "whisper-1", "language": "en"}
)
print(json.dumps(beta.to_dict()))
holder = OpenAI(base_url=base, api_key=secret.value, max_retries=0)
refused = []
for attempt in (
    lambda: holder.realtime.client_secrets.create(),
    lambda: client.realtime.client_secrets.create(session={"type": "realtime"}),
    lambda: client.realtime.client_secrets.create(expires_after={"anchor": "created_at", "seconds": 5}),
):
    try:
        attempt()
        refused.append(None)
    except openai.APIStatusError as error:
        refused.append({"kind": type(error).__name__, "status": error.status_code, "param": error.param})
print(json.dumps({"models": len(holder.models.list().data), "refused": refused}))
