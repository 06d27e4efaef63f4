"""Names of the speakers of sessions and jobs, over a gateway's REST API.

async with SpeakersClient("http://127.0.0.1:8000") as speakers:
    await speakers.rename("SPEAKER_00", "Anna", session=session_id)
"""

from typing import cast
from urllib.parse import quote

from parlando.client.http import RestClient

Names = dict[str, str]
"""Labels → names."""


class SpeakersClient(RestClient):
    """The names of speakers; see `RestClient`. Each call is about one session or one job."""

    def __init__(self, url: str = "http://127.0.0.1:8000", *, api_key: str | None = None) -> None:
        super().__init__(url, api_key=api_key, read_s=60)

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


def _path(session: str | None, job: str | None) -> str:
    if (session is None) == (job is None):
        raise ValueError("Expected the id of either a session or a job")
    if session is not None:
        return f"/v1/stt/sessions/{quote(session, safe='')}/speakers"
    return f"/v1/stt/jobs/{quote(str(job), safe='')}/speakers"
