"""Speaker labels: features and embeddings of voices, and the windows that are embedded."""

from itertools import pairwise

import kaldi_native_fbank as knf
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from parlando.domain.audio import to_float
from support.dialogues import telephone
from support.speech import RATE, fixture
from transcriber.speakers.embedding import DIMENSIONS, SHORTEST, VoiceModel, is_narrow, unit, voice_model
from transcriber.speakers.features import BINS, LENGTH, STEP, filter_banks
from transcriber.speakers.windows import HOP_S, LENGTH_S, LONGEST_S, Span, changes, spans

ONE = ("533-1066-0000.flac", "533-1066-0002.flac")  # clips of one speaker
OTHERS = ("2609-156975-0001.flac", "1688-142285-0001.flac")


def clip(name: str, start: float = 0.3, seconds: float = 2.0) -> np.ndarray:
    return to_float(fixture(name))[int(start * RATE) : int((start + seconds) * RATE)]


def kaldi(pcm: np.ndarray) -> np.ndarray:
    """The features by Kaldi's own code."""
    options = knf.FbankOptions()
    options.frame_opts.dither = 0.0
    options.frame_opts.samp_freq = RATE
    options.mel_opts.num_bins = BINS
    bank = knf.OnlineFbank(options)
    bank.accept_waveform(RATE, (pcm * 32768).tolist())
    bank.input_finished()
    frames = np.array([bank.get_frame(n) for n in range(bank.num_frames_ready)])
    return frames - frames.mean(axis=0)


# --- features -------------------------------------------------------------------------------------


@pytest.mark.parametrize("samples", [LENGTH, LENGTH + STEP - 1, LENGTH + STEP, 24_000])
def test_filter_banks_are_those_of_kaldi(samples):
    pcm = clip(ONE[1])[:samples]
    ours = filter_banks(pcm)
    assert ours.shape == (1 + (samples - LENGTH) // STEP, BINS)
    assert np.abs(ours - kaldi(pcm)).max() < 0.01
    assert np.abs(ours - kaldi(pcm)).mean() < 1e-4


def test_filter_banks_do_not_depend_on_loudness():
    pcm = clip(ONE[1])
    assert filter_banks(pcm / 4) == pytest.approx(filter_banks(pcm), abs=0.02)


def test_a_tone_is_in_the_filter_at_its_frequency():
    times = np.arange(RATE) / RATE
    loud = np.where(times < 0.5, 1.0, 1e-3)  # the mean over time is subtracted
    first = filter_banks((np.sin(2 * np.pi * 1000 * times) * loud * 0.3).astype(np.float32))[5]

    def mel(hertz):
        return 1127 * np.log1p(hertz / 700)

    step = (mel(8000) - mel(20)) / (BINS + 1)
    assert abs(int(np.argmax(first)) - ((mel(1000) - mel(20)) / step - 1)) <= 1


@pytest.mark.parametrize(
    "pcm", [np.zeros(0, np.float32), np.zeros(10, np.float32), np.zeros(RATE, np.float32)]
)
def test_silence_and_nothing_have_finite_features(pcm):
    assert np.isfinite(filter_banks(pcm)).all()


# --- embeddings -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def model() -> VoiceModel:
    return voice_model()


def test_clips_of_one_voice_are_nearer_than_those_of_two(model):
    vectors = model.embed([clip(name) for name in ONE + OTHERS], narrow=False)
    cosines = vectors @ vectors.T
    assert vectors.shape == (4, DIMENSIONS)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1.0, abs=1e-5)
    assert cosines[0, 1] > 0.4  # 0.54; the others are 0.08 at most
    assert max(cosines[0, 2], cosines[0, 3], cosines[1, 2], cosines[1, 3], cosines[2, 3]) < 0.2


def test_an_embedding_is_centred_after_it_is_computed(model):
    clips = [clip(name) for name in OTHERS]
    raw = np.stack([model.raw(each) for each in clips])
    assert (model.centred(raw, narrow=False) == model.embed(clips, narrow=False)).all()
    each = model.centred(raw, narrow=[False, True])
    assert each == pytest.approx(np.stack([model.centred(raw, narrow=k)[k] for k in (0, 1)]))


def through_8_khz(pcm: np.ndarray) -> np.ndarray:
    """300 to 3400 Hz with sharp edges: another telephone than `telephone`."""
    spectrum = np.fft.rfft(pcm)
    hertz = np.fft.rfftfreq(len(pcm), 1 / RATE)
    spectrum[(hertz < 300) | (hertz > 3400)] = 0
    return np.fft.irfft(spectrum, len(pcm)).astype(np.float32)


def test_voices_on_different_telephones_are_comparable(model):
    clips = [through_8_khz(clip(ONE[0])), *(telephone(clip(name)) for name in (ONE[1], *OTHERS))]
    vectors = model.embed(clips, narrow=True)
    own, *others = vectors[1:] @ vectors[0]
    assert own > 0.35
    assert max(others) < 0.2
    alone = model.centred(np.stack([model.raw(each) for each in clips]), narrow=True)
    assert (alone == vectors).all()  # the band is told by the clip itself


def test_the_band_is_told_by_each_clip(model):
    clips = [clip(ONE[0]), telephone(clip(ONE[1])), clip(OTHERS[0]), telephone(clip(OTHERS[1]))]
    vectors = model.embed(clips)
    assert (vectors[:1] == model.embed(clips[:1], narrow=False)).all()
    assert (vectors[1:2] == model.embed(clips[1:2], narrow=True)).all()
    assert vectors[0] @ vectors[1] > 0.3
    assert np.triu(vectors @ vectors.T, 1)[[0, 0, 1, 1, 2], [2, 3, 2, 3, 3]].max() < 0.2


@pytest.mark.parametrize("samples", [0, 1, LENGTH, SHORTEST - 1])
def test_clips_that_are_too_short_are_repeated(model, samples):
    found = model.embed([clip(ONE[0])[:samples]], narrow=False)
    assert np.isfinite(found).all()
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-5)


def test_unit_keeps_zeros():
    assert (unit(np.zeros((2, 3), np.float32)) == 0).all()


@pytest.mark.parametrize("name", ONE + OTHERS)
def test_a_telephone_is_told_by_its_bandwidth(name):
    pcm = clip(name)
    assert not is_narrow(pcm)
    assert is_narrow(telephone(pcm))


@pytest.mark.parametrize("samples", [0, 1, 100])
def test_hardly_any_audio_has_some_bandwidth(samples):
    assert is_narrow(np.zeros(samples, np.float32)) in (True, False)


# --- windows --------------------------------------------------------------------------------------

LENGTHS = st.floats(0.05, 60.0)


@given(LENGTHS, st.floats(0, 1000), st.sampled_from([HOP_S, 2 * HOP_S]))
def test_windows_lie_in_the_speech_and_cover_it(length, start, hop):
    found = spans(start, start + length, hop=hop)
    assert found[0].start == start
    assert start + length - 0.3 <= found[-1].end <= start + length + 1e-6
    assert all(a.start < b.start and b.start - a.start <= hop + 1e-6 for a, b in pairwise(found))
    if length > LONGEST_S:
        assert all(window.end - window.start == pytest.approx(LENGTH_S) for window in found)
    assert all(0 < window.seconds <= max(hop, LONGEST_S) for window in found)


@given(LENGTHS, LENGTHS)
def test_windows_of_open_speech_are_those_of_the_complete_one(one, other):
    shorter, longer = sorted((one, other))
    early = spans(3.0, 3.0 + shorter, complete=False)
    late = spans(3.0, 3.0 + longer)
    assert early == late[: len(early)]


def test_speakers_change_at_the_dip_near_the_middle():
    pcm = np.random.default_rng(0).standard_normal(5 * RATE).astype(np.float32) * 0.1
    pcm[int(2.05 * RATE) : int(2.25 * RATE)] *= 0.01
    windows = [Span(10.0, 11.5, 0.75), Span(11.5, 13.0, 0.75), Span(13.0, 14.5, 0.75)]
    found = changes(pcm, 9.5, windows)
    assert found[0] == pytest.approx(11.65, abs=0.06)  # the dip is 0.15 s behind the middle
    assert abs(found[1] - 13.0) < 0.6
    assert found[2] == 14.5


@given(st.integers(0, 3 * RATE), st.integers(0, 4))
def test_changes_lie_between_the_centres_of_windows(samples, count):
    windows = [Span(n * HOP_S, n * HOP_S + LENGTH_S, HOP_S) for n in range(count)]
    found = changes(np.ones(samples, np.float32), 0.0, windows)
    assert len(found) == count
    assert all(
        a.centre - 0.3 <= at <= b.centre + 0.3 for at, (a, b) in zip(found, pairwise(windows), strict=False)
    )
