"""Makes faster models of Moonshine's published files, at the first start (docs/decisions/0003-moonshine.md).

The published decoder has two branches under one `If`: the first forward pass of an utterance, and later
ones with a cache. They become `first.onnx` and `next.onnx`, with the tied embedding of the logits multiplied
in int8. `first.onnx` also has the cross-attention weights as outputs, for word times; its cross-attention
keys are transposed and scaled once, and not in each pass of `next.onnx`.

Processors with VNNI instructions multiply uint8 by int8 faster than uint8 by uint8, the type of most
published weights, with the same result. Without them onnxruntime adds the products in 16 bits, which
saturate, so there the weights remain uint8.
"""

import os
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper, numpy_helper

from transcriber.engines.onnx_graphs import (
    INT8_ZERO,
    multiplies_int8_exactly,
    readers,
    remove_unused,
    replace_nodes,
)

VERSION: Final = "graphs-4"
LAYERS: Final = 6
ATTENTION: Final = tuple(f"attention.{layer}" for layer in range(LAYERS))


@dataclass(frozen=True, slots=True)
class Graphs:
    """The paths of the models."""

    encoder: Path
    first: Path
    following: Path


def optimised(folder: Path) -> Graphs:
    """The faster models of the published ones in `folder`; they are written if they don't exist.

    Raises `OSError` if the files can't be read or written, `ValueError` if they are not as expected.
    """
    signed = multiplies_int8_exactly()
    target = folder / VERSION / ("int8" if signed else "uint8")
    target.mkdir(parents=True, exist_ok=True)

    def made(name: str, source: str, make: Callable[[ModelProto], ModelProto]) -> Path:
        path = target / name
        if not path.exists():
            model = make(onnx.load(str(folder / source)))
            if signed:
                _sign_weights(model.graph)
            _save(model, path)
        return path

    return Graphs(
        made("encoder.onnx", "encoder_model.onnx", lambda model: model),
        made("first.onnx", "decoder_model_merged.onnx", _first),
        made("next.onnx", "decoder_model_merged.onnx", _next),
    )


def _sign_weights(graph: GraphProto) -> None:
    """Make uint8 weights of integer products int8, and their zero points: the results are the same."""
    values = {value.name: value for value in graph.initializer}
    for node in graph.node:
        if node.op_type != "MatMulInteger":
            continue
        for at in (1, 3):
            value, name = values[node.input[at]], f"{node.input[at]}.int8"
            if value.data_type != TensorProto.UINT8:
                continue
            if name not in values:
                signed = numpy_helper.to_array(value).astype(np.int16) - INT8_ZERO
                values[name] = numpy_helper.from_array(signed.astype(np.int8), name)
                graph.initializer.append(values[name])
            node.input[at] = name
    remove_unused(graph)


def _save(model: ModelProto, path: Path) -> None:
    """Write a temporary file and rename it: several workers may start at the same time."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as out:
        out.write(model.SerializeToString())
    os.chmod(name, 0o644)  # of a temporary file it is 0o600
    os.replace(name, path)


def _first(merged: ModelProto) -> ModelProto:
    graph = _branch(merged, "else_branch", "first")
    produced = {output for node in graph.node for output in node.output}
    for layer, name in enumerate(ATTENTION):
        weights = f"/model/decoder/layers.{layer}/encoder_attn/Softmax_output_0"
        if weights not in produced:
            raise ValueError(f"expected an output {weights} in the decoder, but there is none")
        graph.node.append(helper.make_node("Identity", [weights], [name]))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
        keys = f"present.{layer}.encoder.key"
        transpose = next(node for node in graph.node if keys in node.output)
        replace_nodes(graph, [transpose], [])
        graph.node.append(helper.make_node("Identity", [_scaled_keys(layer)], [keys]))
        _set_shape(graph.output, keys)
    return _model(merged, graph)


def _next(merged: ModelProto) -> ModelProto:
    graph = _branch(merged, "then_branch", "next")
    # The encoder's part of the cache is not computed in this branch.
    kept = [output for output in graph.output if ".encoder." not in output.name]
    del graph.output[:]
    graph.output.extend(kept)
    for layer in range(LAYERS):
        keys = f"past_key_values.{layer}.encoder.key"
        product = next(node for node in graph.node if _scaled_keys(layer) in node.input)
        product.input[:] = [keys if name == _scaled_keys(layer) else name for name in product.input]
        _set_shape(graph.input, keys)
    remove_unused(graph)
    return _model(merged, graph)


def _scaled_keys(layer: int) -> str:
    """The cross-attention keys as they are multiplied, of shape (1, heads, width, frames)."""
    return f"/model/decoder/layers.{layer}/encoder_attn/Mul_1_output_0"


def _set_shape(values: Any, name: str) -> None:
    """Replace the declared shape of cross-attention keys by one of any lengths."""
    value = next(value for value in values if value.name == name)
    lengths = [f"{name}.{axis}" for axis in range(4)]
    value.CopyFrom(helper.make_tensor_value_info(name, TensorProto.FLOAT, lengths))


def _branch(merged: ModelProto, branch: str, name: str) -> GraphProto:
    """A branch of the `If` as a separate graph, with the outer inputs and weights that it uses."""
    condition = next(node for node in merged.graph.node if node.op_type == "If")
    graph = GraphProto()
    graph.CopyFrom(next(attribute.g for attribute in condition.attribute if attribute.name == branch))
    graph.name = name
    used = {name for node in graph.node for name in node.input}
    graph.input.extend(value for value in merged.graph.input if value.name in used)
    graph.initializer.extend(value for value in merged.graph.initializer if value.name in used)
    _dequantise_after_lookup(graph)
    _multiply_logits_in_int8(graph)
    return graph


def _model(merged: ModelProto, graph: GraphProto) -> ModelProto:
    model = helper.make_model(graph, opset_imports=merged.opset_import)
    model.ir_version = merged.ir_version
    return model


def _dequantise_after_lookup(graph: GraphProto) -> None:
    """Look up token embeddings in uint8 and dequantise only these rows instead of the whole table."""
    for node in list(graph.node):
        if node.op_type != "Gather":
            continue
        table = next((n for n in graph.node if node.input[0] in n.output), None)
        if table is None or table.op_type != "DequantizeLinear":
            continue
        rows = f"{node.output[0]}_quantized"
        lookup = helper.make_node("Gather", [table.input[0], node.input[1]], [rows], axis=0)
        scale = helper.make_node("DequantizeLinear", [rows, *table.input[1:]], [node.output[0]])
        replace_nodes(
            graph, [table, node] if readers(graph, table.output[0]) == 1 else [node], [lookup, scale]
        )


def _multiply_logits_in_int8(graph: GraphProto) -> None:
    """Quantise the last hidden state, instead of dequantising 32768 x 288 weights for every token."""
    producers = {output: node for node in graph.node for output in node.output}
    product = producers["logits"]
    hidden, weights = product.input
    dequantise = producers[weights]
    transpose = producers[dequantise.input[0]]
    table = next(value for value in graph.initializer if value.name == transpose.input[0])
    transposed = numpy_helper.from_array(numpy_helper.to_array(table).T.copy(), "logits_weight_quantized")
    graph.initializer.append(transposed)
    _, scale, zero_point = dequantise.input
    replace_nodes(
        graph,
        [product, dequantise, transpose],
        [
            helper.make_node("DynamicQuantizeLinear", [hidden], ["hidden_q", "hidden_s", "hidden_z"]),
            helper.make_node(
                "MatMulInteger", ["hidden_q", transposed.name, "hidden_z", zero_point], ["logits_i"]
            ),
            helper.make_node("Cast", ["logits_i"], ["logits_f"], to=TensorProto.FLOAT),
            helper.make_node("Mul", ["hidden_s", scale], ["logits_s"]),
            helper.make_node("Mul", ["logits_f", "logits_s"], ["logits"]),
        ],
    )
