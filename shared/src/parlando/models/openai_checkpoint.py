"""Converts a CTranslate2 Whisper model to the checkpoint that openai-whisper loads (needs torch).

The format of `model.bin` is CTranslate2's, version 6: a header, then each variable as name, shape, type and
bytes, then aliases (`python/ctranslate2/specs/model_spec.py`). CTranslate2 joins the query, key and value
projections of a self-attention into one matrix, and key and value of a cross-attention into another.

Alignment heads are the cross-attentions that follow time; word times are computed from them. openai-whisper
knows them only for the sizes that it downloads itself. The checkpoint stores them as (layer, head) under the
key `alignment_heads`, which openai-whisper ignores and the engine `whisper` reads.
"""

import json
import os
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, Final

import numpy as np
import numpy.typing as npt

from parlando.errors import ModelError

VERSION: Final = 6
SPECIFICATION: Final = "WhisperSpec"
# CTranslate2's numbers of types; bfloat16, the sixth, has no counterpart in numpy.
TYPES: Final = {number: np.dtype(name) for number, name in enumerate(("<f4", "<i1", "<i2", "<i4", "<f2"))}
ALIGNMENT_HEADS: Final = "alignment_heads"  # key of the checkpoint

Array = npt.NDArray[Any]
Variables = dict[str, Array]
Heads = list[list[int]]


def convert(folder: Path, target: Path) -> None:
    """Write the checkpoint of the CTranslate2 model in `folder` to the file `target`.

    `target` never exists incomplete.

    Raises
    ------
    ModelError
        if `folder` holds no Whisper model of CTranslate2, or torch isn't installed.

    """
    try:
        import torch
    except ImportError as error:
        raise ModelError(
            f"Converting a model needs torch ({error}): "
            "pip install -c constraints.txt -e './transcriber[whisper]'"
        ) from error
    dimensions, state, heads = read_model(folder)
    saved = {
        "dims": dimensions,
        "model_state_dict": {name: torch.from_numpy(value.copy()) for name, value in state.items()},
        ALIGNMENT_HEADS: heads,
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        part = Path(scratch) / target.name
        torch.save(saved, part)
        os.replace(part, target)


def read_model(folder: Path) -> tuple[dict[str, int], Variables, Heads]:
    """Dimensions, state and alignment heads (layer, head) of the CTranslate2 model in `folder`.

    `heads` is empty if the model's configuration has none. Raises `ModelError` for another format.
    """
    path = folder / "model.bin"
    try:
        with path.open("rb") as stream:
            dimensions, state = checkpoint(read_variables(stream))
        configuration = folder / "config.json"
        heads = json.loads(configuration.read_text()).get(ALIGNMENT_HEADS) if configuration.exists() else None
    except FileNotFoundError:
        raise ModelError(f"{path} does not exist; expected the folder of a CTranslate2 model") from None
    except KeyError as error:
        raise ModelError(f"{path} is no Whisper model: it has no variable {error}") from error
    except (struct.error, ValueError) as error:
        raise ModelError(f"{folder} can't be read as a CTranslate2 model: {error}") from error
    return dimensions, state, heads or []


def read_variables(stream: IO[bytes]) -> Variables:
    """The variables of a `model.bin` by name; int8 and int16 weights are divided by their scales.

    Raises `ModelError` for another format.
    """
    version = _number(stream, "I")
    if version != VERSION:
        raise ModelError(f"the model has version {version} of CTranslate2's format; expected {VERSION}")
    specification = _string(stream)
    if specification != SPECIFICATION:
        raise ModelError(f"the model is a {specification}; expected a {SPECIFICATION}")
    _number(stream, "I")  # revision of the specification
    stored = dict(_read_variable(stream) for _ in range(_number(stream, "I")))
    found = dict(_scaled(stored))
    for _ in range(_number(stream, "I")):
        alias, name = _string(stream), _string(stream)
        found[alias] = found[name]
    return found


def _read_variable(stream: IO[bytes]) -> tuple[str, Array]:
    name = _string(stream)
    shape = [_number(stream, "I") for _ in range(_number(stream, "B"))]
    kind = _number(stream, "B")
    data = stream.read(_number(stream, "I"))
    dtype = TYPES.get(kind)
    if dtype is None:
        raise ModelError(f"the type of {name} (number {kind}) is not supported")
    return name, np.frombuffer(data, dtype).reshape(shape)


def _scaled(stored: Variables) -> Iterator[tuple[str, Array]]:
    """Weights without their scales. A scale is one number, or one for each row."""
    for name, value in stored.items():
        if name.endswith("_scale") and name.removesuffix("_scale") in stored:
            continue
        scale = stored.get(f"{name}_scale")
        if scale is not None:
            value = value.astype(np.float32) / scale.reshape(-1, *[1] * (value.ndim - 1))
        yield name, value


def _number(stream: IO[bytes], kind: str) -> int:
    [value] = struct.unpack(f"<{kind}", stream.read(struct.calcsize(kind)))
    return int(value)


def _string(stream: IO[bytes]) -> str:
    return stream.read(_number(stream, "H")).rstrip(b"\0").decode()


def checkpoint(variables: Variables) -> tuple[dict[str, int], Variables]:
    """The dimensions and the state of openai-whisper's model for CTranslate2's variables."""
    vocabulary, width = variables["decoder/embeddings/weight"].shape
    audio_layers, text_layers = _layers(variables, "encoder"), _layers(variables, "decoder")
    dimensions = {
        "n_mels": int(variables["encoder/conv1/weight"].shape[1]),
        "n_audio_ctx": int(variables["encoder/position_encodings/encodings"].shape[0]),
        "n_audio_state": int(width),
        "n_audio_head": int(variables["encoder/num_heads"]),
        "n_audio_layer": audio_layers,
        "n_vocab": int(vocabulary),
        "n_text_ctx": int(variables["decoder/position_encodings/encodings"].shape[0]),
        "n_text_state": int(width),
        "n_text_head": int(variables["decoder/num_heads"]),
        "n_text_layer": text_layers,
    }
    state: Variables = {
        "encoder.positional_embedding": variables["encoder/position_encodings/encodings"],
        "decoder.positional_embedding": variables["decoder/position_encodings/encodings"],
        "decoder.token_embedding.weight": variables["decoder/embeddings/weight"],
    }
    for name in ("conv1", "conv2"):
        for part in ("weight", "bias"):
            state[f"encoder.{name}.{part}"] = variables[f"encoder/{name}/{part}"]
    state.update(_norm("encoder.ln_post", variables, "encoder/layer_norm"))
    state.update(_norm("decoder.ln", variables, "decoder/layer_norm"))
    for number in range(audio_layers):
        state.update(_block(variables, f"encoder/layer_{number}", f"encoder.blocks.{number}", cross=False))
    for number in range(text_layers):
        state.update(_block(variables, f"decoder/layer_{number}", f"decoder.blocks.{number}", cross=True))
    return dimensions, state


def _layers(variables: Variables, half: str) -> int:
    names = {name.split("/")[1] for name in variables if name.startswith(f"{half}/layer_")}
    return len(names - {"layer_norm"})


def _norm(name: str, variables: Variables, source: str) -> Variables:
    return {f"{name}.weight": variables[f"{source}/gamma"], f"{name}.bias": variables[f"{source}/beta"]}


def _block(variables: Variables, source: str, name: str, *, cross: bool) -> Variables:
    """One transformer block."""
    state = _norm(f"{name}.attn_ln", variables, f"{source}/self_attention/layer_norm")
    joined = _linear(variables, f"{source}/self_attention/linear_0")
    state.update(_projections(f"{name}.attn", ("query", "key", "value"), *joined))
    state.update(
        _projections(f"{name}.attn", ("out",), *_linear(variables, f"{source}/self_attention/linear_1"))
    )
    if cross:
        state.update(_norm(f"{name}.cross_attn_ln", variables, f"{source}/attention/layer_norm"))
        for number, parts in enumerate((("query",), ("key", "value"), ("out",))):
            joined = _linear(variables, f"{source}/attention/linear_{number}")
            state.update(_projections(f"{name}.cross_attn", parts, *joined))
    state.update(_norm(f"{name}.mlp_ln", variables, f"{source}/ffn/layer_norm"))
    for number, part in enumerate(("0", "2")):
        weight, bias = _linear(variables, f"{source}/ffn/linear_{number}")
        state[f"{name}.mlp.{part}.weight"], state[f"{name}.mlp.{part}.bias"] = weight, bias
    return state


def _linear(variables: Variables, source: str) -> tuple[Array, Array]:
    return variables[f"{source}/weight"], variables[f"{source}/bias"]


def _projections(name: str, parts: tuple[str, ...], weight: Array, bias: Array) -> Variables:
    """Split a joined projection. Whisper's keys have no bias: CTranslate2 stores zeros for it."""
    state: Variables = {}
    matrices, biases = np.split(weight, len(parts)), np.split(bias, len(parts))
    for part, matrix, offset in zip(parts, matrices, biases, strict=True):
        state[f"{name}.{part}.weight"] = matrix
        if part != "key":
            state[f"{name}.{part}.bias"] = offset
    return state
