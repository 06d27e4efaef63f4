"""Changes of ONNX graphs, and what onnxruntime can do on this machine."""

from functools import cache
from typing import Final

import numpy as np
import onnxruntime as ort
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper

INT8_ZERO: Final = 128  # the value of uint8 that stands for 0 of int8


@cache
def multiplies_int8_exactly() -> bool:
    """Whether onnxruntime's product of uint8 and int8 is exact on this machine."""
    length = 64
    weights = np.full((length, 16), 127, np.int8)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, ["rows", length])],
        [helper.make_tensor_value_info("c", TensorProto.INT32, ["rows", 16])],
        [numpy_helper.from_array(weights, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])

    def is_exact(rows: int) -> bool:
        (found,) = session.run(None, {"a": np.full((rows, length), 255, np.uint8)})
        return bool((found == 255 * 127 * length).all())

    return is_exact(1) and is_exact(8)  # onnxruntime has other code for one row


def remove_unused(graph: GraphProto) -> None:
    """Remove nodes and weights that no output depends on."""
    needed = {output.name for output in graph.output}
    for node in reversed(graph.node):  # in topological order
        if needed.intersection(node.output):
            needed.update(node.input)
    nodes = [node for node in graph.node if needed.intersection(node.output)]
    weights = [value for value in graph.initializer if value.name in needed]
    del graph.node[:]
    del graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(weights)


def readers(graph: GraphProto, name: str) -> int:
    """How many nodes read the value `name`."""
    return sum(name in node.input for node in graph.node)


def replace_nodes(graph: GraphProto, old: list[NodeProto], new: list[NodeProto]) -> None:
    """Replace the nodes `old` by `new`, at the place of the last of them."""
    outputs = {node.output[0] for node in old}
    at = max(index for index, node in enumerate(graph.node) if node.output[0] in outputs)
    before = [node for node in graph.node[: at + 1] if node.output[0] not in outputs]
    after = list(graph.node[at + 1 :])
    del graph.node[:]
    graph.node.extend([*before, *new, *after])
