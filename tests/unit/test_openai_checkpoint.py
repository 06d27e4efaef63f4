"""The reader of CTranslate2's `model.bin`. Whole models: tests/integration/test_openai_checkpoint.py."""

import io
import struct
import sys

import numpy as np
import pytest

from parlando.errors import ModelError
from parlando.models.openai_checkpoint import convert, read_model, read_variables

TYPES = {"float32": 0, "int8": 1, "int16": 2, "int32": 3, "float16": 4}


def _text(value: str) -> bytes:
    return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"


def _model(variables: dict[str, np.ndarray], aliases=(), *, version=6, specification="WhisperSpec") -> bytes:
    parts = [struct.pack("<I", version), _text(specification), struct.pack("<II", 3, len(variables))]
    for name, value in variables.items():
        shape = struct.pack(f"<B{value.ndim}I", value.ndim, *value.shape)
        parts += [_text(name), shape, struct.pack("<BI", TYPES[value.dtype.name], value.nbytes)]
        parts.append(value.tobytes())
    parts.append(struct.pack("<I", len(aliases)))
    return b"".join([*parts, *(_text(name) for pair in aliases for name in pair)])


def _read(*args, **options) -> dict[str, np.ndarray]:
    return read_variables(io.BytesIO(_model(*args, **options)))


def test_variables_have_names_shapes_types_and_values():
    stored = {
        "half": np.arange(6, dtype=np.float16).reshape(2, 3),
        "single": np.array([1.5], np.float32),
        "scalar": np.array(7, np.int16),
    }

    found = _read(stored)

    assert found.keys() == stored.keys()
    for name, value in stored.items():
        assert found[name].dtype == value.dtype
        assert found[name].shape == value.shape
        assert (found[name] == value).all()


def test_quantised_weights_are_divided_by_the_scale_of_their_row():
    found = _read(
        {
            "rows/weight": np.array([[127, -127], [10, 0]], np.int8),
            "rows/weight_scale": np.array([127, 10], np.float32),
            "conv/weight": np.array([[[4, 2]], [[9, 3]]], np.int8),
            "conv/weight_scale": np.array([2, 3], np.float32),
            "whole/weight": np.array([[512, 1024]], np.int16),
            "whole/weight_scale": np.array(1024, np.float32),
        },
        [("again/weight", "rows/weight")],
    )

    assert found["rows/weight"].tolist() == [[1.0, -1.0], [1.0, 0.0]]
    assert found["conv/weight"].tolist() == [[[2.0, 1.0]], [[3.0, 1.0]]]
    assert found["whole/weight"].tolist() == [[0.5, 1.0]]
    assert found["again/weight"].tolist() == found["rows/weight"].tolist()
    assert not any(name.endswith("_scale") for name in found)


def test_other_formats_are_refused_with_what_was_expected():
    with pytest.raises(ModelError, match="version 5 of CTranslate2's format; expected 6"):
        _read({}, version=5)
    with pytest.raises(ModelError, match="the model is a TransformerSpec; expected a WhisperSpec"):
        _read({}, specification="TransformerSpec")
    bfloat16 = _model({"w": np.zeros(1, np.int32)}).replace(
        struct.pack("<BI", 3, 4), struct.pack("<BI", 5, 4)
    )
    with pytest.raises(ModelError, match=r"the type of w \(number 5\) is not supported"):
        read_variables(io.BytesIO(bfloat16))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "model.bin does not exist; expected the folder of a CTranslate2 model"),
        (b"PK\x03", "can't be read as a CTranslate2 model"),
        (_model({"w": np.zeros(9, np.float32)})[:-12], "can't be read as a CTranslate2 model"),
        (_model({"encoder/num_heads": np.array(6, np.int16)}), "is no Whisper model: it has no variable"),
    ],
)
def test_a_folder_without_a_whole_model_is_an_error(content, message, tmp_path):
    if content is not None:
        (tmp_path / "model.bin").write_bytes(content)

    with pytest.raises(ModelError, match=message):
        read_model(tmp_path)


def test_without_torch_the_error_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)

    with pytest.raises(ModelError, match=r"needs torch .*pip install .*transcriber\[whisper\]"):
        convert(tmp_path, tmp_path / "model.pt")
