"""Dialogues made of recordings of single speakers, with who speaks when; and worse channels for them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.signal import butter, fftconvolve, resample_poly, sosfilt

from parlando import vad
from parlando.domain.audio import Float32, to_float
from parlando.domain.speech import is_speech
from support.speech import RATE

PAUSE_S = 0.3  # silence of a recording that separates two stretches
EDGE_S = 0.05  # kept around a stretch
LEVEL = 0.05  # root mean square of each stretch
HUM = 3e-4  # root mean square of the noise of a dialogue
LONGEST_TURN = 5  # stretches
TAIL_S = 2.0  # of silence, in which the last utterance ends
LEAST_S = 3.0  # of speech of each speaker
ATTEMPTS = 200
NEW_SHARE = 0.35  # of turns that go to somebody who has not spoken yet
SHORT_SHARE = 0.2  # of turns that are short, like "Yes, of course."
SHORT_S = (0.7, 1.6)
INNER_S = (0.3, 0.6)  # pauses within a turn
OUTER_S = (0.15, 1.2)  # pauses between turns
ROOM_S = 0.5  # reverberation time
NOISE_DB = 10.0  # speech above noise
VOICES_OF_BABBLE = 6


@dataclass(frozen=True)
class Turn:
    """Uninterrupted speech of one speaker, in seconds."""

    start: float
    end: float
    speaker: str


@dataclass(frozen=True)
class Dialogue:
    """Float32 samples at 16 kHz, and who speaks when."""

    name: str
    pcm: Float32
    turns: Sequence[Turn]

    @property
    def seconds(self) -> float:
        return len(self.pcm) / RATE

    @property
    def speakers(self) -> int:
        return len({turn.speaker for turn in self.turns})


Voices = Mapping[str, Sequence[Float32]]
"""Recordings of each speaker."""


def stretches(pcm: np.ndarray) -> list[Float32]:
    """The stretches of speech of int16 samples."""
    whole = to_float(pcm[: len(pcm) // vad.FRAME * vad.FRAME])
    found: list[list[int]] = []
    speaking = False
    for n, probability in enumerate(vad.load("auto").stream().push(whole).tolist()):
        speaking = is_speech(probability, after_speech=speaking)
        if speaking and found and n * vad.FRAME - found[-1][1] < PAUSE_S * RATE:
            found[-1][1] = (n + 1) * vad.FRAME
        elif speaking:
            found.append([n * vad.FRAME, (n + 1) * vad.FRAME])
    edge = int(EDGE_S * RATE)
    return [whole[max(0, start - edge) : end + edge] for start, end in found if end - start > 2 * vad.FRAME]


def dialogue(name: str, voices: Voices, seconds: float, seed: int) -> Dialogue:
    """A dialogue of all `voices`, whose recordings are stretches; shorter than `seconds` if they run out.

    Each speaker speaks for `LEAST_S` at least.
    """
    for attempt in range(ATTEMPTS):
        random = np.random.default_rng([seed, attempt])
        parts = _drawn(voices, seconds, random)
        told = {speaker: sum(len(said) for _, said, who in parts if who == speaker) for speaker in voices}
        if min(told.values()) >= LEAST_S * RATE:
            break
    else:
        raise ValueError(f"{name}: a voice has too little speech, {told}")
    length = max(at + len(said) / RATE for at, said, _ in parts) + TAIL_S
    pcm = random.standard_normal(int(length * RATE)).astype(np.float32) * HUM
    for at, said, _ in parts:
        first = int(at * RATE)
        pcm[first : first + len(said)] += said * (LEVEL / rms(said))
    return Dialogue(name, pcm, [Turn(at, at + len(said) / RATE, who) for at, said, who in parts])


def _drawn(voices: Voices, seconds: float, random: np.random.Generator) -> list[tuple[float, Float32, str]]:
    """Stretches with the second at which they begin and their speaker."""
    left = {speaker: list(parts) for speaker, parts in voices.items()}
    parts: list[tuple[float, Float32, str]] = []
    at, last = 0.5, ""
    while at < seconds:
        open_to = [speaker for speaker in left if left[speaker] and speaker != last]
        if not open_to:
            break
        silent = [speaker for speaker in open_to if all(who != speaker for _, _, who in parts)]
        last = silent[0] if silent and random.random() < NEW_SHARE else str(random.choice(open_to))
        short = random.random() < SHORT_SHARE
        count = 1 if short else int(random.integers(2, LONGEST_TURN + 1))
        for n, part in enumerate(left[last][:count]):
            at += random.uniform(*INNER_S) if n else 0.0
            said = part[: int(random.uniform(*SHORT_S) * RATE)] if short else part
            parts.append((at, said, last))
            at += len(said) / RATE
        del left[last][:count]
        at += random.uniform(*OUTER_S)
    return parts


def rms(pcm: Float32) -> float:
    return float(np.sqrt(np.mean(np.square(pcm, dtype=np.float64)))) + 1e-9


# --- channels -------------------------------------------------------------------------------------

Channel = Callable[[Float32, int], Float32]
"""(float32 samples at 16 kHz, seed) → the samples behind a channel."""


def telephone(pcm: Float32, seed: int = 0) -> Float32:
    """300 to 3400 Hz, 8 kHz, mu-law."""
    band = sosfilt(butter(4, (300, 3400), "bandpass", fs=RATE, output="sos"), pcm)
    low = np.clip(resample_poly(band, 1, 2), -1, 1)
    code = np.rint(np.sign(low) * np.log1p(255 * np.abs(low)) / np.log(256) * 127) / 127
    return resample_poly(np.sign(code) * np.expm1(np.abs(code) * np.log(256)) / 255, 2, 1).astype(np.float32)


def in_noisy_room(pcm: Float32, seed: int = 0) -> Float32:
    """Synthetic reverberation (0.5 s to -60 dB), and noise below 2 kHz, 10 dB under the speech."""
    random = np.random.default_rng(seed)
    times = np.arange(int(ROOM_S * RATE)) / RATE
    response = random.standard_normal(len(times)) * 10 ** (-3 * times / ROOM_S) * 0.3
    response[0] += 3.0
    heard = fftconvolve(pcm, response)[: len(pcm)].astype(np.float32)
    noise = sosfilt(butter(2, 2000, fs=RATE, output="sos"), random.standard_normal(len(pcm)))
    return _with(heard, noise.astype(np.float32))


def among(others: Sequence[Float32]) -> Channel:
    """Six of the `others` speak in the background, together 10 dB under the speech."""

    def heard(pcm: Float32, seed: int) -> Float32:
        random = np.random.default_rng(seed)
        babble = np.zeros(len(pcm), np.float32)
        for n in random.choice(len(others), VOICES_OF_BABBLE, replace=len(others) < VOICES_OF_BABBLE):
            voice = np.resize(np.roll(others[n], int(random.integers(len(others[n])))), len(pcm))
            babble += voice / rms(voice)
        return _with(pcm, babble)

    return heard


def _with(speech: Float32, noise: Float32) -> Float32:
    blocks = speech[: len(speech) // 320 * 320].reshape(-1, 320)
    power = np.square(blocks, dtype=np.float64).mean(axis=1)
    active = float(np.sqrt(power[power > power.max() * 1e-3].mean()))  # pauses don't count
    mixed = speech + noise * (active * 10 ** (-NOISE_DB / 20) / rms(noise))
    return np.asarray(mixed * (0.5 / max(0.5, float(np.abs(mixed).max()))), np.float32)


def behind(channel: Channel, talk: Dialogue, seed: int) -> Dialogue:
    """The dialogue behind a channel."""
    return replace(talk, pcm=channel(talk.pcm, seed))


def half_on_the_telephone(talk: Dialogue) -> Dialogue:
    """Every second speaker of the dialogue is on the telephone."""
    far = sorted({turn.speaker for turn in talk.turns})[::2]
    narrow, pcm = telephone(talk.pcm), talk.pcm.copy()
    for turn in talk.turns:
        if turn.speaker in far:
            place = slice(int(turn.start * RATE), int(turn.end * RATE))
            pcm[place] = narrow[place]
    return replace(talk, pcm=pcm)
