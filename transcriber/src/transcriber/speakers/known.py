"""Recognises known speakers: compares the voices of a session's or recording's speakers with theirs. Pure."""

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from parlando.domain.audio import Float32
from parlando.domain.known_speakers import KnownSpeaker, Recognised, VoiceClip
from transcriber.speakers.embedding import unit
from transcriber.speakers.voices import quantised, restored

ENOUGH_S: Final = 3.0
"""Least speech of a speaker who is recognised."""
THRESHOLD: Final = 0.5
"""Least cosine of the two voices. Chosen on 61 people: different ones have at most 0.48, with a clean or a
noisy clip, and 5 s of speech that is clean, noisy, or a telephone's."""
NARROW_THRESHOLD: Final = 0.57
"""That of a telephone's clip: on the telephone, different people have up to 0.55."""
MARGIN: Final = 0.05
"""By how much the cosine's distance above its threshold must exceed that of the second best known speaker
above its own threshold. If the thresholds are equal, this is the difference of the cosines."""


@dataclass(frozen=True, slots=True)
class KnownVoices:
    """The voices of known speakers: names and thresholds, and unit vectors of shape (voices, 192).

    Clips of a telephone are a voice of their own, so a name may be there twice.
    """

    names: tuple[str, ...]
    thresholds: Float32
    vectors: Float32

    @classmethod
    def of(cls, speakers: Sequence[KnownSpeaker]) -> "KnownVoices":
        """Each voice is the mean of clips, weighted by their speech."""
        found = [
            (speaker.name, NARROW_THRESHOLD if narrow else THRESHOLD, _mean(clips))
            for speaker in speakers
            for narrow in (False, True)
            if (clips := [clip for clip in speaker.clips if clip.narrow == narrow])
        ]
        return cls(
            tuple(name for name, _, _ in found),
            np.array([threshold for _, threshold, _ in found], np.float32),
            unit(np.stack([mean for _, _, mean in found])) if found else np.zeros((0, 0), np.float32),
        )

    def recognised(self, voices: Float32, seconds: Sequence[float]) -> Mapping[int, Recognised]:
        """Who of the known speakers has which voice; each is recognised at most once, the best one first.

        `voices`: unit vectors, shape (n, 192). `seconds`: how much speech each stands for. Returns numbers of
        voices with their speakers.
        """
        if not self.names or not len(voices):
            return {}
        cosines = voices @ self.vectors.T
        above = cosines - self.thresholds
        names = np.array(self.names)
        found: dict[int, Recognised] = {}
        taken: set[str] = set()
        for place in np.argsort(-above, axis=None):
            number, known = divmod(int(place), len(names))
            name = self.names[known]
            if above[number, known] < 0:
                break
            others = above[number, names != name]
            is_clear = not len(others) or above[number, known] - others.max() >= MARGIN
            if number in found or name in taken or seconds[number] < ENOUGH_S or not is_clear:
                continue
            found[number] = Recognised(name=name, score=round(float(cosines[number, known]), 3))
            taken.add(name)
        return found


def _mean(clips: Sequence[VoiceClip]) -> Float32:
    vectors = restored(b"".join(base64.b64decode(clip.vector) for clip in clips))
    return np.average(vectors, axis=0, weights=[clip.seconds for clip in clips]).astype(np.float32)


NOBODY: Final = KnownVoices.of(())


def clip_of(vectors: Float32, weights: Float32, *, seconds: float, narrow: bool = False) -> VoiceClip:
    """The voice of a clip with one speaker.

    `vectors`: of its windows, shape (n, 192), with their `weights`. `seconds`: of its speech. `narrow`:
    whether it is a telephone's.
    """
    mean = unit((vectors * weights[:, None]).sum(axis=0, keepdims=True))
    vector = base64.b64encode(quantised(mean)).decode()
    return VoiceClip(seconds=round(seconds, 2), vector=vector, narrow=narrow)
