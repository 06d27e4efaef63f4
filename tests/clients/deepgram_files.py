"""deepgram-sdk's client for recorded files: python deepgram_files.py <http://host:port> <JSON calls>.

Each call: `file` (a path) or `url`, and `options`: arguments of `transcribe_file` or `transcribe_url`. Prints
the response to each, or `{"refused": <status>, "body": …}`.
"""

import json
import sys
from pathlib import Path

from deepgram import DeepgramClient, DeepgramClientEnvironment
from deepgram.core.api_error import ApiError

base = sys.argv[1]
environment = DeepgramClientEnvironment(base=base, production=base, agent=base, agent_rest=base)
for call in json.loads(sys.argv[2]):
    media = DeepgramClient(api_key=call.get("key", "key"), environment=environment).listen.v1.media
    try:
        if "url" in call:
            answer = media.transcribe_url(url=call["url"], **call["options"])
        else:
            answer = media.transcribe_file(request=Path(call["file"]).read_bytes(), **call["options"])
        print(answer.model_dump_json())
    except ApiError as error:
        body = error.body if isinstance(error.body, dict) else error.body.model_dump()
        print(json.dumps({"refused": error.status_code, "body": body}))
