"""The experiment of configs/cifar10.toml in PyTorch, for comparison.

    pip install torch numpy
    python3 benches/peers/cifar10_residual.py FOLDER_WITH_THE_SIX_BIN_FILES_OF_CIFAR_10 [SEED ...]

The same network, the first 10,000 training images, each channel normalized by their mean and deviation, Kaiming's uniform initialisation with biases of 0, Adam with
epsilon 1e-7 and a cosine schedule over all steps, batches of 64, the penalty lambda/(2m)*||kernels||^2 in the loss, channels_last. `OMP_NUM_THREADS` sets the threads.
Prints a JSON line for each seed, then mean and standard deviation over the seeds. PyTorch 2.15.0, seeds 0 to 9: test cross-entropy 1.306 ± 0.021, accuracy 53.3 ± 1.0 %.
"""

import json
import math
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EPOCHS, BATCH, RATE, EPSILON, LAMBDA, TRAIN_LIMIT = 5, 64, 0.001, 1e-7, 1.0, 10_000
RECORD = 1 + 3 * 32 * 32


class Block(nn.Module):
    """Two 3x3 convolutions; what they get is added, or a 1x1 convolution of it where the size changes."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.batch_norm1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.batch_norm2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        projection = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
        self.shortcut = nn.Identity() if stride == 1 else projection

    def forward(self, x):
        h = F.relu(self.batch_norm1(self.conv1(x)))
        return F.relu(self.batch_norm2(self.conv2(h)) + self.shortcut(x))


def network():
    model = nn.Sequential(
        *(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()),
        *(Block(16, 16, 1), Block(16, 32, 2), Block(32, 64, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, 10)),
    )
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
    nn.init.zeros_(model[-1].bias)
    return model.to(memory_format=torch.channels_last)


def read(names, limit=None):
    files = [np.fromfile(Path(sys.argv[1]) / name, np.uint8).reshape(-1, RECORD) for name in names]
    records = np.concatenate(files)[:limit]
    return records[:, 1:].reshape(-1, 3, 32, 32), torch.tensor(records[:, 0].astype(np.int64))


def evaluated(model):
    """Mean cross-entropy and accuracy on the test images."""
    model.eval()
    loss = correct = 0.0
    with torch.no_grad():
        for x, y in zip(test_x.split(500), test_y.split(500), strict=True):
            logits = model(x)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += (logits.argmax(1) == y).sum().item()
    return loss / len(test_y), correct / len(test_y)


train, train_y = read([f"data_batch_{number}.bin" for number in range(1, 6)], TRAIN_LIMIT)
test, test_y = read(["test_batch.bin"])
mean = (train / 255).mean((0, 2, 3)).reshape(3, 1, 1)
deviation = (train / 255).std((0, 2, 3)).reshape(3, 1, 1)
train_x, test_x = (
    torch.tensor(((images / 255 - mean) / deviation).astype(np.float32)).to(memory_format=torch.channels_last) for images in (train, test)
)
m = len(train_y)
steps = EPOCHS * math.ceil(m / BATCH)
results = []
for seed in map(int, sys.argv[2:] or ["0"]):
    torch.manual_seed(seed)
    model = network()
    kernels = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, eps=EPSILON, fused=True)
    begun, step = time.perf_counter(), 0
    model.train()
    for _ in range(EPOCHS):
        for batch in torch.randperm(m).split(BATCH):
            optimizer.param_groups[0]["lr"] = RATE * (1 + math.cos(math.pi * step / (steps - 1))) / 2
            step += 1
            optimizer.zero_grad()
            penalty = LAMBDA / (2 * m) * sum(kernel.square().sum() for kernel in kernels)
            (F.cross_entropy(model(train_x[batch]), train_y[batch]) + penalty).backward()
            optimizer.step()
    seconds = time.perf_counter() - begun
    loss, accuracy = evaluated(model)
    results.append((loss, accuracy, seconds))
    print(json.dumps({"seed": seed, "test_loss": loss, "test_accuracy": accuracy, "seconds": round(seconds, 1)}), flush=True)

for name, values in zip(["test loss", "test accuracy", "seconds"], zip(*results, strict=True), strict=True):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    print(f"{name}: {statistics.mean(values):.4f} ± {spread:.4f} (standard deviation, {len(values)} seeds)")
