"""A whole file as a session: it is stored at once, and its transcript can be awaited."""

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from api_gateway.auth import Principal
from api_gateway.dependencies import Services
from parlando.domain.audio import Encoding
from parlando.domain.commands import End
from parlando.domain.config import SessionConfig
from parlando.domain.events import EVENTS, Closed, Failure, SessionEvent, settled
from parlando.domain.formats import AudioFormat
from parlando.domain.transcript import Transcript
from parlando.errors import (
    AtCapacityError,
    InvalidAudioError,
    ParlandoError,
    SessionClosedError,
    SessionTakenError,
)
from parlando.ids import new_session_id, new_token
from parlando.store.pools import Place
from parlando.store.relay import Relay
from parlando.store.sessions import SessionWriter

ENTRY: Final = 1 << 18  # bytes of one stream entry
RETRY_S: Final = 0.25
CONTAINER: Final = AudioFormat(encoding=Encoding.CONTAINER)


async def send_file(
    services: Services,
    data: bytes,
    *,
    places: Sequence[Place],
    caller: Principal,
    config: SessionConfig,
    sid: str | None = None,
    uid: str = "",
    push: bool = False,
) -> SessionWriter:
    """Open a session in the first of `places` that is free, store the file in it and end it.

    `sid`: the id of a session in which a part of the file may be stored already; the rest is stored then.

    Raises
    ------
    AtCapacityError, UnavailableError

    """
    name = sid or new_session_id()
    try:
        writer = await services.sessions.open(
            name,
            places=places,
            config=config.model_dump(exclude_none=True),
            token=new_token(),
            key=caller.owner,
            api_key=caller.key_id,
            form=CONTAINER,
            uid=uid,
            push=push,
            replace=False,
        )
    except SessionTakenError:
        if sid is None:
            raise
        writer = services.sessions.from_start(sid, CONTAINER)
    try:
        for start in range(0, len(data), ENTRY):
            await writer.append(data[start : start + ENTRY], len(data) + ENTRY)
        await writer.command(End())
    except SessionClosedError:
        pass  # the file was stored before, or a worker has closed the session; its events contain the reason
    return writer


async def transcribe_file(
    services: Services, data: bytes, *, caller: Principal, config: SessionConfig, within_s: float
) -> Transcript:
    """Transcribe a file. Waits up to `within_s` seconds for capacity and for the transcript.

    Raises
    ------
    InvalidAudioError, InvalidRequestError, AtCapacityError, UnavailableError

    """
    deadline = time.monotonic() + within_s
    try:
        async with asyncio.timeout_at(asyncio.get_running_loop().time() + within_s):
            while True:
                try:
                    writer = await services.shares.opened(
                        caller.owner,
                        lambda: services.admission.places(CONTAINER, config.languages, config.required_task),
                        lambda limited: send_file(
                            services, data, places=limited, caller=caller, config=config
                        ),
                    )
                    break
                except AtCapacityError:
                    if time.monotonic() + RETRY_S > deadline:
                        raise
                    await asyncio.sleep(RETRY_S)
            return await _transcript(services, writer.sid)
    except TimeoutError as error:
        raise AtCapacityError(
            f"The file was not transcribed within {within_s:.0f} s; send it again"
        ) from error


async def _transcript(services: Services, sid: str) -> Transcript:
    events: list[SessionEvent] = []
    failure: ParlandoError | None = None
    async with Relay(services.history, services.channels, sid, after=0) as relay:
        async for batch in relay.batches():
            for message in batch:
                event = EVENTS.validate_json(message.raw)
                events.append(event)
                if isinstance(event, Failure):
                    failure = InvalidAudioError(event.message)
                elif isinstance(event, Closed):
                    if failure is not None:
                        raise failure
                    return Transcript.of(
                        sid, state="closed", duration=event.duration, segments=settled(events)
                    )
    raise AssertionError("unreachable")
