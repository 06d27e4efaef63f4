"""Splits Moonshine's merged decoder file into two models, at the first start.

The published decoder has two branches under one `If`: the first forward pass of an utterance, and later
ones with a cache. Split into `first.onnx` and `next.onnx`, with the tied embedding of the logits multiplied
in int8, a token takes about half the time (docs/decisions/0003-moonshine.md). `first.onnx` also has the
cross-attention weights as outputs, for word times.
"""

import os
import tempfile
from pathlib import Path
from typing import Final

import onnx
from onnx import GraphProto, ModelProto, TensorProto, helper

VERSION: Final = "split-1"
LAYERS: Final = 6
ATTENTION: Final = tuple(f"attention.{layer}" for layer in range(LAYERS))


def split(folder: Path) -> tuple[Path, Path]:
    """The paths of first.onnx and next.onnx under `folder`; the files are created if they don't exist."""
    target = folder / VERSION
    first, following = target / "first.onnx", target / "next.onnx"
    if not (first.exists() and following.exists()):
        target.mkdir(exist_ok=True)
        merged = onnx.load(str(folder / "decoder_model_merged.onnx"))
        branch = next(node for node in merged.graph.node if node.op_type == "If")
        branches = {attribute.name: attribute.g for attribute in branch.attribute}
        _save(_first(merged, branches["else_branch"]), first)
        _save(_next(merged, branches["then_branch"]), following)
    return first, following


def _save(model: ModelProto, path: Path) -> None:
    """Write a temporary file and rename it: several workers may start at the same time."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as out:
        out.write(model.SerializeToString())
    os.replace(name, path)


def _first(merged: ModelProto, branch: GraphProto) -> ModelProto:
    graph = _graph(merged, branch, "first")
    produced = {output for node in graph.node for output in node.output}
    for layer, name in enumerate(ATTENTION):
        weights = f"/model/decoder/layers.{layer}/encoder_attn/Softmax_output_0"
        if weights not in produced:
            raise ValueError(f"expected an output {weights} in the decoder, but there is none")
        graph.node.append(helper.make_node("Identity", [weights], [name]))
        graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    return _model(merged, graph)


def _next(merged: ModelProto, branch: GraphProto) -> ModelProto:
    graph = _graph(merged, branch, "next")
    # The encoder's part of the cache is not computed in this branch.
    kept = [output for output in graph.output if ".encoder." not in output.name]
    del graph.output[:]
    graph.output.extend(kept)
    return _model(merged, graph)


def _graph(merged: ModelProto, branch: GraphProto, name: str) -> GraphProto:
    """A branch as a separate graph, with the inputs and weights that it uses from the outer graph."""
    graph = GraphProto()
    graph.CopyFrom(branch)
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
        _replace(graph, [table, node] if _readers(graph, table.output[0]) == 1 else [node], [lookup, scale])


def _multiply_logits_in_int8(graph: GraphProto) -> None:
    """Quantise the last hidden state, instead of dequantising 32768 x 288 weights for every token."""
    producers = {output: node for node in graph.node for output in node.output}
    product = producers["logits"]
    hidden, weights = product.input
    dequantise = producers[weights]
    transpose = producers[dequantise.input[0]]
    table = next(value for value in graph.initializer if value.name == transpose.input[0])
    transposed = onnx.numpy_helper.from_array(
        onnx.numpy_helper.to_array(table).T.copy(), "logits_weight_quantized"
    )
    graph.initializer.append(transposed)
    _, scale, zero_point = dequantise.input
    _replace(
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


def _readers(graph: GraphProto, name: str) -> int:
    return sum(name in node.input for node in graph.node)


def _replace(graph: GraphProto, old: list[onnx.NodeProto], new: list[onnx.NodeProto]) -> None:
    """Replace the nodes `old` by `new`, at the place of the last of them."""
    outputs = {node.output[0] for node in old}
    at = max(index for index, node in enumerate(graph.node) if node.output[0] in outputs)
    before = [node for node in graph.node[: at + 1] if node.output[0] not in outputs]
    after = list(graph.node[at + 1 :])
    del graph.node[:]
    graph.node.extend([*before, *new, *after])
