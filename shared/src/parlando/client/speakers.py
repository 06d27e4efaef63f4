"""Names of the speakers of sessions and jobs, and known speakers, over a gateway's REST API.

async with SpeakersClient("http://127.0.0.1:8000") as speakers:
    await speakers.rename("SPEAKER_00", "Anna", session=session_id)
    await speakers.enrol("Anna", "anna.wav")
"""

import os
from typing import Any, Final, cast
from urllib.parse import quote

from parlando.client.http import RestClient, opened

KNOWN: Final = "/v1/speakers"
ENROLLED_WITHIN_S: Final = 150

Document = dict[str, Any]

Names = dict[str, str]
"""Labels → names."""


class SpeakersClient(RestClient):
    """The names of speakers; see `RestClient`. Each call about names is about one session or one job."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=ENROLLED_WITHIN_S)

    async def names(self, *, session: str | None = None, job: str | None = None) -> Names:
        """The names that were given to speakers."""
        answer = await self._send("GET", _path(session, job))
        return cast(Names, answer.json()["names"])

    async def rename(
        self, speaker: str, name: str | None, *, session: str | None = None, job: str | None = None
    ) -> Names:
        """Give the speaker with the label `speaker` a name; None takes it away. Returns all names.

        The name is shown to everybody who reads the session or job, and in its exports.
        """
        path = f"{_path(session, job)}/{quote(speaker, safe='')}"
        if name is None:
            answer = await self._send("DELETE", path)
        else:
            answer = await self._send("PUT", path, json={"name": name})
        return cast(Names, answer.json()["names"])

    async def enrol(self, name: str, *clips: str | os.PathLike[str]) -> Document:
        """Enrol a known speaker by clips of the voice alone, each with at least 4 s of speech.

        Sessions and jobs with `diarize` and `known_speakers` recognise the voice. Further clips of a name
        that is known already are added. Returns the speaker. Ask people before you enrol them.
        """
        if not clips:
            raise ValueError("Expected at least one clip of the voice")
        for clip in clips:
            path, uploaded = opened(clip)
            with uploaded:
                answer = await self._send(
                    "POST", KNOWN, files={"file": (path.name, uploaded)}, data={"name": name}
                )
        return cast(Document, answer.json())

    async def known(self) -> list[Document]:
        """The known speakers of the key's owner: `name`, `clips`, `seconds` of speech, `created_at`."""
        return cast("list[Document]", (await self._send("GET", KNOWN)).json()["speakers"])

    async def forget(self, name: str) -> None:
        """Delete a known speaker and the voice."""
        await self._send("DELETE", f"{KNOWN}/{quote(name, safe='')}")


def _path(session: str | None, job: str | None) -> str:
    if (session is None) == (job is None):
        raise ValueError("Expected the id of either a session or a job")
    if session is not None:
        return f"/v1/stt/sessions/{quote(session, safe='')}/speakers"
    return f"/v1/stt/jobs/{quote(str(job), safe='')}/speakers"
