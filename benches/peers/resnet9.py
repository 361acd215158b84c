"""ResNet-9 on images of CIFAR-10 on a CPU: `regulus` and PyTorch in turns.

    cargo build --release --bins --example inference
    python3 benches/peers/resnet9.py FOLDER_WITH_CIFAR_10 [--rounds 3] [--batch 128] [--threads 2] [--compile] [--bf16]

Each round trains every program on the same 1,280 images (10 batches of 128), the first epoch uncounted, and infers 1,000 images at a time from numbers to logits. `--bf16` adds
`regulus` with `backend.precision = "bf16"`, for which the processor needs AMX. Prints the medians of the rounds in images/s, and the ratio to the best float32 of PyTorch. PyTorch: eager, or with `--compile` torch.compile too; channels_last or not; float32, or bfloat16 by autocast. Both train with
Nesterov momentum and L2.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

import turns

IMAGES, RATE = 1280, 0.01


def convolution(inputs, outputs, *then):
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(), *then


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(*convolution(channels, channels), *convolution(channels, channels))

    def forward(self, x):
        return x + self.layers(x)


def resnet9():
    layers = [*convolution(3, 64), *convolution(64, 128, nn.MaxPool2d(2)), Residual(128), *convolution(128, 256, nn.MaxPool2d(2))]
    layers += [*convolution(256, 512, nn.MaxPool2d(2)), Residual(512), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*layers)


class PyTorch:
    def __init__(self, compiled, channels_last, half, images, labels, batch):
        torch.manual_seed(0)
        self.name = f"PyTorch {'compiled' if compiled else 'eager'}{', channels_last' if channels_last else ''}, {'bfloat16' if half else 'float32'}"
        self.half, self.batch = half, batch
        form = torch.channels_last if channels_last else torch.contiguous_format
        self.images, self.labels = images.to(memory_format=form), labels
        self.model = resnet9().to(memory_format=form)
        self.called = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=1 / IMAGES)
        self.epoch()

    def epoch(self):
        self.model.train()
        begun = time.perf_counter()
        for first in range(0, IMAGES - self.batch + 1, self.batch):
            self.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, self.half):
                loss = F.cross_entropy(self.called(self.images[first : first + self.batch]), self.labels[first : first + self.batch])
            loss.backward()
            self.optimizer.step()
        return IMAGES // self.batch * self.batch / (time.perf_counter() - begun)

    def infer(self):
        self.model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, self.half):
            self.called(self.images[:1000])
            begun = time.perf_counter()
            self.called(self.images[:1000])
        return 1000 / (time.perf_counter() - begun)

    def measure(self):
        return self.epoch(), self.infer()


def regulus(folder, batch, threads, scratch, half):
    keys = {"data.dir": folder, "data.train_limit": IMAGES, "train.batch_size": batch, "train.epochs": 3, "backend.threads": threads, "optimizer.learning_rate": RATE}
    sets = [*(f"{key}={value}" for key, value in keys.items()), "optimizer.kind=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true"]
    return turns.Regulus(turns.REPOSITORY / "benches/peers/gpu_resnet9.toml", sets, 1000, scratch, half)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cifar10", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    folder = options.cifar10 / "cifar-10-batches-bin" if (options.cifar10 / "cifar-10-batches-bin").exists() else options.cifar10
    records = np.fromfile(folder / "data_batch_1.bin", np.uint8).reshape(-1, 3073)[:IMAGES]
    images = torch.tensor((records[:, 1:].reshape(-1, 3, 32, 32) / np.float32(255) - 0.47) / 0.25)
    labels = torch.tensor(records[:, 0], dtype=torch.int64)
    with tempfile.TemporaryDirectory() as scratch:
        halves = (False, True) if options.bf16 else (False,)
        programs = [regulus(folder.resolve(), options.batch, options.threads, Path(scratch), half) for half in halves]
        for compiled in (False, True) if options.compile else (False,):
            for channels_last in (False, True):
                programs += [PyTorch(compiled, channels_last, half, images, labels, options.batch) for half in (False, True)]
        head = f"| batch {options.batch}, {options.threads} threads | training, images/s | to the best float32 | inference at 1000 | to the best float32 |"
        turns.table(programs, options.rounds, head)


main()
