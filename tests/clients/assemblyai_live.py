"""AssemblyAI's official streaming client: sends 16 kHz PCM files and prints each event that it gets.

Arguments: host, key, JSON of further parameters, the files. `wait` instead of a file: prints "waiting" and
goes on after a line on standard input; `force` ends the turn; `keyterms` updates the configuration.
"""

import json
import sys
import threading

from assemblyai.streaming.v3 import (
    StreamingClient,
    StreamingClientOptions,
    StreamingError,
    StreamingEvents,
    StreamingParameters,
    StreamingSessionParameters,
)

host, key, parameters, *files = sys.argv[1:]
lock = threading.Lock()


def show(kind: str, body: object) -> None:
    with lock:
        print(json.dumps([kind, body], default=str), flush=True)


def shown(kind: str):
    def handler(client: StreamingClient, event: object) -> None:
        if isinstance(event, StreamingError):
            show(kind, {"code": event.code, "message": str(event)})
        else:
            show(kind, event.model_dump(mode="json"))

    return handler


options = StreamingClientOptions(api_host=host, api_key=key, connect_timeout=300, terminate_timeout=300)
client = StreamingClient(options)
for event in (
    StreamingEvents.Begin,
    StreamingEvents.Turn,
    StreamingEvents.SpeechStarted,
    StreamingEvents.Termination,
    StreamingEvents.Error,
    StreamingEvents.Warning,
):
    client.on(event, shown(event.value))
client.connect(StreamingParameters(**{"sample_rate": 16000, "format_turns": True, **json.loads(parameters)}))
for file in files:
    match file:
        case "wait":
            show("waiting", {})
            sys.stdin.readline()
        case "force":
            client.force_endpoint()
        case "keyterms":
            client.set_params(StreamingSessionParameters(keyterms_prompt=["etcd"], max_turn_silence=700))
            client.keep_alive()
        case _:
            with open(file, "rb") as audio:
                client.stream(iter(lambda: audio.read(3200), b""))
client.disconnect(terminate=True)
