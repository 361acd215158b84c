"""The experiment of configs/mnist_l2.toml in PyTorch, for comparison.

    pip install torch numpy
    python3 benches/peers/mnist_l2_pytorch.py FOLDER_WITH_THE_FOUR_MNIST_GZ_FILES [SEED ...]

The same network, Keras' initialisation, Adam with epsilon 1e-7, batches of 32, the penalty lambda/(2m)*||kernels||^2 in the loss, 2 threads,
shuffled batches from memory, channels_last. Prints the test accuracy and the time of each seed.
"""

import gzip
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EPOCHS, BATCH, RATE, LAMBDA = 10, 32, 0.001, 0.001
torch.set_num_threads(2)
folder = Path(sys.argv[1])


def read(subset):
    images = np.frombuffer(gzip.decompress((folder / f"{subset}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = np.frombuffer(gzip.decompress((folder / f"{subset}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    images = torch.tensor(images.reshape(-1, 1, 28, 28).astype(np.float32) / 255).to(memory_format=torch.channels_last)
    return images, torch.tensor(labels.astype(np.int64))


(train_x, train_y), (test_x, test_y) = read("train"), read("t10k")
m = len(train_y)
for seed in map(int, sys.argv[2:] or ["0"]):
    torch.manual_seed(seed)
    model = nn.Sequential(
        *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)),
    ).to(memory_format=torch.channels_last)
    kernels = [p for p in model.parameters() if p.dim() > 1]
    for p in model.parameters():
        nn.init.xavier_uniform_(p) if p.dim() > 1 else nn.init.zeros_(p)
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, eps=1e-7, fused=True)
    begun = time.perf_counter()
    for _ in range(EPOCHS):
        for batch in torch.randperm(m).split(BATCH):
            optimizer.zero_grad()
            penalty = LAMBDA / (2 * m) * sum(p.square().sum() for p in kernels)
            (F.cross_entropy(model(train_x[batch]), train_y[batch]) + penalty).backward()
            optimizer.step()
    seconds = time.perf_counter() - begun
    with torch.no_grad():
        accuracy = sum((model(x).argmax(1) == y).sum().item() for x, y in zip(test_x.split(1000), test_y.split(1000))) / len(test_y)
    print(f"seed {seed}: test accuracy {accuracy:.4f}, {seconds:.0f} s, {EPOCHS * m / seconds:.0f} images/s", flush=True)
