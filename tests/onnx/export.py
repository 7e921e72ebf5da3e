"""Writes the ONNX backend node tests for attune-onnx: cases.json and cases.bin in the folder given.

The package `onnx` generates the tests, its wheel has no files of them. Left out are the cases of functions expanded
into other operators, operators beyond tensors of numbers (strings, sequences, control flow) and those that Attune makes
no claim to: quantisation, signal processing, detection, trees. cases.json is a list of

    {"name", "op", "opset", "attributes": {...}, "inputs": [...], "outputs": [...]}

inputs and outputs in the order of the node's; one is null where it is absent, else {"dtype", "shape", "offset"}, where
offset counts bytes in cases.bin. float16 is written as float32, bfloat16 as its bits, bool and all integers but int64
as int64; "dtype" remains ONNX's.

The suite's recurrent layers have weights that are all alike, which do not tell gates apart. So there are cases beyond
it, of random weights, whose results are those of onnx.reference.
"""

import json
import pathlib
import sys
import warnings

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases
from onnx.reference import ReferenceEvaluator

OPERATORS = """
Attention FlexAttention LinearAttention RotaryEmbedding TensorScatter CausalConvWithState Abs Adagrad Adam Add And ArgMax
ArgMin AveragePool BatchNormalization Celu Clip Concat Conv ConvTranspose Cos CumSum Div Dropout Einsum Elu Equal Erf Exp
Expand Flatten GRU Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool Greater GroupNormalization
HardSigmoid HardSwish Hardmax InstanceNormalization LSTM LayerNormalization LeakyRelu Less Log LogSoftmax LpNormalization
MatMul Max MaxPool Mean MeanVarianceNormalization Min Mish Momentum Mul Neg NegativeLogLikelihoodLoss Not OneHot Or PRelu
Pad Pow RMSNormalization RNN Range Reciprocal ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean
ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu Reshape ReverseSequence ScatterElements ScatterND Selu Sigmoid Sin
Slice Softmax SoftmaxCrossEntropyLoss Softplus Softsign Split Sqrt Squeeze Sub Sum SwiGLU Swish Tanh ThresholdedRelu Tile
TopK Transpose Trilu Unsqueeze Where
""".split()

# As they lie in cases.bin.
STORED = {"float32": "<f4", "float16": "<f4", "float64": "<f8", "bfloat16": "<u2", "bool": "<i8"}


def store(array, blob):
    if isinstance(array, onnx.TensorProto):
        array = numpy_helper.to_array(array)
    array = np.asarray(array)
    dtype = str(array.dtype)
    if dtype == "bfloat16":
        array = array.view(np.uint16)
    offset = len(blob)
    blob += np.ascontiguousarray(array).astype(STORED.get(dtype, "<i8")).tobytes()
    blob += bytes(-len(blob) % 8)
    return {"dtype": dtype, "shape": list(array.shape), "offset": offset}


def attribute(value):
    value = helper.get_attribute_value(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, onnx.GraphProto):  # the formulas of FlexAttention
        return " ".join(node.op_type for node in value.node)
    return list(value) if not isinstance(value, (int, float)) else value


def aligned(names, tensors, blob):
    tensors = iter(tensors)
    return [store(next(tensors), blob) if name else None for name in names]


def recurrent_cases(blob):
    random = np.random.default_rng(1)
    steps, batch, width, hidden = 4, 3, 5, 6
    for op, gates, options in (("RNN", 1, {}), ("GRU", 3, {}), ("GRU", 3, {"linear_before_reset": 1}), ("LSTM", 4, {})):
        for direction in ("forward", "reverse", "bidirectional"):
            count = 2 if direction == "bidirectional" else 1
            shapes = {
                "x": (steps, batch, width),
                "w": (count, gates * hidden, width),
                "r": (count, gates * hidden, hidden),
                "b": (count, 2 * gates * hidden),
                "": None,  # lengths
                "h": (count, batch, hidden),
            }
            if op == "LSTM":
                shapes["c"] = shapes["h"]
            values = {name: random.normal(size=s).astype(np.float32) / 2 for name, s in shapes.items() if s}
            outputs = ["y", "y_h", "y_c"] if op == "LSTM" else ["y", "y_h"]
            node = helper.make_node(op, list(shapes), outputs, hidden_size=hidden, direction=direction, **options)
            graph = helper.make_graph(
                [node],
                "recurrent",
                [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, v.shape) for n, v in values.items()],
                [helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, None) for n in outputs],
            )
            model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)])
            results = ReferenceEvaluator(model).run(None, values)
            yield {
                "name": "_".join(["reference", op.lower(), *options, direction]),
                "op": op,
                "opset": 22,
                "attributes": {a.name: attribute(a) for a in node.attribute},
                "inputs": aligned(node.input, values.values(), blob),
                "outputs": aligned(node.output, results, blob),
            }


def main(folder):
    warnings.filterwarnings("ignore")
    folder.mkdir(parents=True, exist_ok=True)
    blob, cases = bytearray(), []
    for case in collect_testcases(None):
        node = case.model.graph.node[0]
        if "_expanded" in case.name or node.op_type not in OPERATORS:
            continue
        (inputs, outputs), *more = case.data_sets
        assert len(case.model.graph.node) == 1 and not more and not case.model.graph.initializer
        if any(getattr(tensor, "dtype", None) == object for tensor in inputs):
            continue
        cases.append(
            {
                "name": case.name,
                "op": node.op_type,
                "opset": next((o.version for o in case.model.opset_import if o.domain == node.domain), 0),
                "attributes": {a.name: attribute(a) for a in node.attribute},
                "inputs": aligned(node.input, inputs, blob),
                "outputs": aligned(node.output, outputs, blob),
            }
        )
    cases += recurrent_cases(blob)
    (folder / "cases.bin").write_bytes(blob)
    (folder / "cases.json").write_text(json.dumps(cases, indent=0))
    print(f"onnx {onnx.__version__}: {len(cases)} cases, {len(blob)} bytes")


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
