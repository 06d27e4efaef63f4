"""deepgram-sdk's live clients: python deepgram_live.py <http://host:port> <raw pcm> <JSON plan>.

Prints the messages. The plan: `version` 1 or 2; `connect`: the arguments of `connect`; `bytes`: of one chunk;
`pace_s`: pause after each; `finalize_at`, `force_at`: number of the chunk after which to send Finalize or
ForceEndTurn; `configure`: fields of a Configure to send first; `silent_s`: time in which only KeepAlive is
sent, before the end; `by_token`: use a token of `auth.v1.tokens.grant`.
"""

import asyncio
import json
import sys
from pathlib import Path

from deepgram import AsyncDeepgramClient, DeepgramClientEnvironment
from deepgram.core.api_error import ApiError
from deepgram.core.events import EventType
from deepgram.listen.v1.types import ListenV1Configure


def client_for(base: str, **key: str) -> AsyncDeepgramClient:
    live = base.replace("http", "ws", 1)
    environment = DeepgramClientEnvironment(base=base, production=live, agent=live, agent_rest=base)
    return AsyncDeepgramClient(environment=environment, **key)


def show(message: object) -> None:
    print(json.dumps(message if isinstance(message, dict) else message.model_dump(mode="json")))


async def talk(socket, pcm: bytes, plan: dict) -> None:
    size = plan.get("bytes", 3200)
    if "configure" in plan:
        fields = plan["configure"]
        if plan["version"] == 1:
            await socket.send_configure(ListenV1Configure(**fields))
        else:
            await socket.send_configure({"type": "Configure", **fields})
    for number, at in enumerate(range(0, len(pcm), size)):
        await socket.send_media(pcm[at : at + size])
        if number == plan.get("finalize_at"):
            await socket.send_finalize()
        if number == plan.get("force_at"):
            await socket.send_force_end_turn()
        await asyncio.sleep(plan.get("pace_s", 0))
    for _ in range(int(plan.get("silent_s", 0) / 2)):
        await socket.send_keep_alive()
        await asyncio.sleep(2)
    await socket.send_close_stream()


async def main(base: str, pcm: bytes, plan: dict) -> None:
    client = client_for(base, api_key=plan.get("key", "key"))
    if plan.get("by_token"):
        granted = await client.auth.v1.tokens.grant()
        show({"type": "granted", "expires_in": granted.expires_in})
        client = client_for(base, access_token=granted.access_token)
    listen = client.listen.v1 if plan["version"] == 1 else client.listen.v2
    try:
        async with listen.connect(**plan["connect"]) as socket:
            socket.on(EventType.MESSAGE, show)
            socket.on(EventType.ERROR, lambda error: show({"type": "raised", "error": repr(error)}))
            talking = asyncio.create_task(talk(socket, pcm, plan))
            await socket.start_listening()
            await talking
            show({"type": "closed", "code": socket._websocket.close_code})
    except ApiError as error:
        show({"type": "refused", "status": error.status_code})


asyncio.run(main(sys.argv[1], Path(sys.argv[2]).read_bytes(), json.loads(sys.argv[3])))
