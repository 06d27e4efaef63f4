"""Voice activity detection without torch."""

import hashlib
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from parlando import vad
from parlando.domain.audio import to_float
from parlando.models.catalogue import SILERO_VAD
from parlando.vad import FRAME
from parlando.vad.silero import FILE
from support.perfect import silence, speak
from support.speech import fixture


@pytest.fixture(scope="module")
def silero():
    return vad.load("silero")


def _speech() -> np.ndarray:
    samples = to_float(fixture("jfk.flac"))
    return samples[: len(samples) // FRAME * FRAME]


def test_case_16_frames_are_512_samples_with_state_and_context_whatever_the_slices(silero):
    """Many frames in one call give what one frame a call gives, for the state is carried."""
    samples = _speech()
    whole = silero.stream().push(samples)
    stepping = silero.stream()
    stepped = [float(stepping.push(samples[at : at + FRAME])[0]) for at in range(0, len(samples), FRAME)]

    assert len(whole) == len(samples) // FRAME
    assert np.allclose(whole, stepped, atol=1e-5)
    assert whole.max() > 0.9 > 0.1 > whole.min()


def test_case_16_sessions_share_the_weights_but_not_their_state(silero):
    samples = _speech()
    alone = silero.stream().push(samples)
    one, other = silero.stream(), silero.stream()
    noise = np.random.default_rng(1).normal(0, 0.1, len(samples)).astype(np.float32)
    mixed = []
    for at in range(0, len(samples), 4 * FRAME):
        mixed += one.push(samples[at : at + 4 * FRAME]).tolist()
        other.push(noise[at : at + 4 * FRAME])

    assert np.allclose(alone, mixed, atol=1e-5)


def test_a_saved_state_goes_on_exactly(silero):
    samples = _speech()
    half = len(samples) // FRAME // 2 * FRAME
    first, second = silero.stream(), silero.stream()
    first.push(samples[:half])
    second.restore(first.state())

    assert (second.push(samples[half:]) == first.push(samples[half:])).all()


def test_silero_is_found_without_importing_torch():
    code = "from parlando import vad; import sys; vad.load('silero').stream(); print('torch' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_without_the_package_the_weights_of_the_store_are_used(monkeypatch, tmp_path, silero):
    monkeypatch.setattr("parlando.vad.silero.find_spec", lambda name: None)
    monkeypatch.setenv("PARLANDO_MODELS", str(tmp_path))
    package = find_spec("silero_vad").submodule_search_locations[0]
    (tmp_path / "silero-vad").mkdir()
    shutil.copy(Path(package) / "data" / FILE, tmp_path / "silero-vad")

    model = vad.load("auto")

    assert model.why == "silero-vad is in the model store"
    samples = to_float(fixture("jfk.flac"))[: 100 * FRAME]
    assert np.array_equal(model.stream().push(samples), silero.stream().push(samples))


def test_the_package_has_the_weights_of_the_catalogue():
    [file] = SILERO_VAD.files
    data = (Path(find_spec("silero_vad").submodule_search_locations[0]) / "data" / file.name).read_bytes()
    assert (len(data), hashlib.sha256(data).hexdigest()) == (file.size, file.sha256)


def test_without_silero_the_fallback_is_used_and_says_why(monkeypatch, tmp_path):
    monkeypatch.setattr("parlando.vad.silero.find_spec", lambda name: None)
    monkeypatch.setenv("PARLANDO_MODELS", str(tmp_path))

    model = vad.load("auto")

    assert model.name == "rms"
    assert "silero-vad isn't installed" in model.why


def test_the_fallback_tells_loud_from_quiet():
    stream = vad.load("rms").stream()

    assert stream.push(to_float(speak(1)[: 8 * FRAME])).min() > 0.9
    assert stream.push(to_float(silence(1)[: 8 * FRAME])).max() < 0.1
