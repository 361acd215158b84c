"""ONNX Runtime, which infers only. A variant is the number of its threads."""

from common import main, weights

import onnx  # noqa: E402
import onnxruntime  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402


def model():
    values = weights()
    values[0], values[2] = values[0].transpose(3, 2, 0, 1), values[2].transpose(3, 2, 0, 1)
    values[4] = values[4].reshape(5, 5, 64, 128).transpose(2, 0, 1, 3).reshape(1600, 128)
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes = [
        *(helper.make_node("Conv", ["x", "w0", "w1"], ["a"]), helper.make_node("Relu", ["a"], ["b"])),
        helper.make_node("MaxPool", ["b"], ["c"], **pool),
        *(helper.make_node("Conv", ["c", "w2", "w3"], ["d"]), helper.make_node("Relu", ["d"], ["e"])),
        *(helper.make_node("MaxPool", ["e"], ["f"], **pool), helper.make_node("Flatten", ["f"], ["g"])),
        *(helper.make_node("Gemm", ["g", "w4", "w5"], ["h"]), helper.make_node("Relu", ["h"], ["i"])),
        helper.make_node("Gemm", ["i", "w6", "w7"], ["logits"]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", ["n", 1, 28, 28]), ("logits", ["n", 10]))]
    constants = [numpy_helper.from_array(value, f"w{index}") for index, value in enumerate(values)]
    graph = helper.make_graph(nodes, "cnn", ends[:1], ends[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def predictor(variant, batches):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = int(variant[0]), 1
    session = onnxruntime.InferenceSession(model().SerializeToString(), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {"x": x})[0], [images[:, None] for images in batches]


if __name__ == "__main__":
    main(onnxruntime.__version__, None, predictor)
