"""Songs: what the index knows of them, and what is said when one is recognised."""

from typing import Any, Final

from pydantic import BaseModel, Field

KIND: Final = "song"
"""The kind of the annotations of recognised songs."""


class Song(BaseModel):
    """A registered song. `id`: its number in the index. `duration`: seconds. `hashes`: its landmarks."""

    id: int
    artist: str = Field("", max_length=300)
    album: str = Field("", max_length=300)
    title: str = Field("", max_length=300)
    duration: float = 0.0
    hashes: int = 0
    registered_ms: int = 0
    filename: str = ""


class RecognisedSong(BaseModel):
    """A song in audio.

    `start`: where in the audio it was found, in seconds; `offset`: the place in the song at that moment.
    `matches`: landmarks that agree on this offset; `ratio`: `matches` divided by those of the next song.
    """

    song_id: int
    artist: str
    album: str
    title: str
    offset: float
    start: float
    matches: int
    ratio: float
    duration: float = 0.0

    @property
    def began(self) -> float:
        """Seconds of the audio at which the song began, maybe before the audio."""
        return self.start - self.offset

    @property
    def ends(self) -> float:
        """Seconds of the audio at which the song ends if it's played to its end."""
        return self.began + self.duration

    @classmethod
    def of(cls, song: Song, *, start: float, offset: float, matches: int, ratio: float) -> "RecognisedSong":
        """A song that was found at `start`."""
        return cls(
            song_id=song.id,
            artist=song.artist,
            album=song.album,
            title=song.title,
            offset=round(offset, 2),
            start=round(start, 2),
            matches=matches,
            ratio=round(ratio, 2),
            duration=song.duration,
        )


def label(song: dict[str, Any]) -> str:
    """A song in words, for notifications and captions: `'Title' by Artist`."""
    title, artist = song.get("title") or "unknown title", song.get("artist")
    return f"'{title}' by {artist}" if artist else f"'{title}'"
