"""Loads a safetensors export in PyTorch and checks that it measures what Regulus measured.

    pip install torch safetensors numpy
    regulus train configs/quickstart.toml --run-dir RUN
    regulus export RUN --output model.safetensors
    regulus evaluate RUN --json > measures.json
    python3 tests/pytorch_load.py model.safetensors measures.json

The network is built from the architecture in the file's metadata with torch.nn modules of the same names, its state is loaded as it is, and
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
architecture, preprocessing = metadata["architecture"], metadata["preprocessing"]


class Cnn(nn.Module):
    def __init__(self):
        super().__init__()
        size = architecture["input"]
        channels, height, width = size["channels"], size["height"], size["width"]
        self.convolutions = len(architecture["channels"])
        for number, output in enumerate(architecture["channels"], 1):
            self.add_module(f"conv{number}", nn.Conv2d(channels, output, architecture["kernel_size"], padding=architecture["padding"]))
            channels = output
            height, width = ((side + 2 * architecture["padding"] - architecture["kernel_size"] + 1) // 2 for side in (height, width))
        self.dense1 = nn.Linear(channels * height * width, architecture["hidden"])
        self.dense2 = nn.Linear(architecture["hidden"], architecture["classes"])

    def forward(self, x):
        for number in range(1, self.convolutions + 1):
            x = nn.functional.max_pool2d(torch.relu(self.get_submodule(f"conv{number}")(x)), 2)
        return self.dense2(torch.relu(self.dense1(x.flatten(1))))


model = Cnn()
model.load_state_dict(load_file(model_path), strict=True)

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
assert len(metadata["classes"]) == architecture["classes"]
