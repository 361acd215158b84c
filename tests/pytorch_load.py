"""Loads a safetensors export in PyTorch and checks that it measures what Regulus measured.

    pip install torch safetensors numpy
    regulus train configs/quickstart.toml --run-dir RUN
    regulus export RUN --output model.safetensors
    regulus evaluate RUN --json > measures.json
    python3 tests/pytorch_load.py model.safetensors measures.json

The network is built from the graph in the file's metadata with torch.nn modules of the same names, its state is loaded as it is, and
the images are prepared as the metadata says. The data are the 1,000 test images of mnist_mini.
"""

import gzip
import json
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import nn

model_path, measures_path = sys.argv[1:]
with safe_open(model_path, "pt") as file:
    metadata = {key: value if key in ("format", "regulus_version") else json.loads(value) for key, value in file.metadata().items()}
assert metadata["format"] == "pt"
graph, preprocessing = metadata["graph"], metadata["preprocessing"]


def module(op, inputs):
    """The torch.nn module of a node; inputs are its input channels or units."""
    kind = op["op"]
    if kind == "conv":
        window = {key: op[key] for key in ("stride", "padding", "groups", "bias")}
        return nn.Conv2d(inputs, op["outputs"], op["kernel"], **window), op["outputs"]
    if kind == "dense":
        return nn.LazyLinear(op["outputs"], bias=op["bias"]), op["outputs"]
    if kind == "batch_norm":
        return nn.BatchNorm2d(inputs, op["epsilon"], op["momentum"]), inputs
    if kind in ("max_pool", "average_pool"):
        pool = nn.MaxPool2d if kind == "max_pool" else nn.AvgPool2d
        return pool(op["kernel"], op["stride"], op["padding"]), inputs
    if kind == "dropout":
        return nn.Dropout(op["rate"]), inputs
    return {"relu": nn.ReLU(), "relu6": nn.ReLU6(), "gelu": nn.GELU(), "flatten": nn.Flatten()}.get(kind), inputs


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        channels = {"image": graph["input"]["channels"]}
        for node in graph["nodes"]:
            made, channels[node["name"]] = module(node, channels[node["inputs"][0]])
            if made is not None:
                self.add_module(node["name"], made)

    def forward(self, images):
        values = {"image": images}
        for node in graph["nodes"]:
            first, *others = (values[name] for name in node["inputs"])
            if node["op"] == "add":
                values[node["name"]] = first + others[0]
            elif node["op"] == "subtract":
                values[node["name"]] = first - others[0]
            elif node["op"].startswith("global"):
                values[node["name"]] = first.mean((2, 3)) if node["op"] == "global_average_pool" else first.amax((2, 3))
            else:
                values[node["name"]] = self.get_submodule(node["name"])(first)
        return values[graph["outputs"][0]]


model = Network()
model.load_state_dict(load_file(model_path), strict=True)
model.eval()

folder = Path(__file__).parents[1] / "src/data/mnist_mini"
pixels = np.frombuffer(gzip.decompress((folder / "t10k-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8).reshape(-1, 1, 28, 28)
labels = torch.tensor(np.frombuffer(gzip.decompress((folder / "t10k-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8).astype(np.int64))
mean, deviation = (torch.tensor(preprocessing[key], dtype=torch.float32).view(1, -1, 1, 1) for key in ("mean", "deviation"))
images = (torch.tensor(pixels.astype(np.float32)) / 255 - mean) / deviation

with torch.no_grad():
    logits = model(images)
loss = nn.functional.cross_entropy(logits.double(), labels).item()
accuracy = (logits.argmax(1) == labels).double().mean().item()
measured = json.loads(Path(measures_path).read_text())
print(f"PyTorch: data loss {loss:.7f}, accuracy {accuracy:.4f}; Regulus: {measured['data_loss']:.7f}, {measured['accuracy']:.4f}")
assert measured["count"] == len(labels)
assert abs(loss - measured["data_loss"]) < 1e-5
assert abs(accuracy - measured["accuracy"]) < 1e-9
assert len(metadata["classes"]) == logits.shape[1]
