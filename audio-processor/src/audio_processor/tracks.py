"""Selects one of the audio tracks of a file. Pure."""

from collections.abc import Sequence

from audio_processor.report import Track
from parlando.domain.languages import NAMES
from parlando.errors import InvalidAudioError


def select(tracks: Sequence[Track], wanted: int | None, languages: Sequence[str]) -> int:
    """The number of a track, from 0.

    `wanted`: the number asked for, from 1. Without one it's the first track in the first of `languages` that
    there is, a default track before others; else the default track, else the first one.

    Raises
    ------
    InvalidAudioError
        if there is no track with the number.

    """
    if wanted is not None:
        if wanted > len(tracks):
            raise InvalidAudioError(
                f"Expected an audio track of the file, but got track {wanted}; it has {_listed(tracks)}"
            )
        return wanted - 1
    by_default = sorted(range(len(tracks)), key=lambda number: not tracks[number].default)
    for language in languages:
        for number in by_default:
            if tracks[number].language == language:
                return number
    return by_default[0]


def _listed(tracks: Sequence[Track]) -> str:
    """The tracks with their languages, as a clause."""
    if len(tracks) == 1:
        return "only one"
    named = [_name(number, track) for number, track in enumerate(tracks[:10], start=1)]
    return f"{len(tracks)}: {', '.join(named)}"


def _name(number: int, track: Track) -> str:
    language = NAMES.get(track.language or "", track.language or "").capitalize()
    notes = [note for note in (language, "default" if track.default else "") if note]
    return f"{number} ({', '.join(notes)})" if notes else str(number)
