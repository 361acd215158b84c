"""The experiment of configs/cifar10_fast.toml in PyTorch, for comparison.

    pip install torch numpy
    python3 benches/peers/cifar10_fast.py FOLDER_WITH_THE_SIX_BIN_FILES_OF_CIFAR_10 [--seeds 0 1] [--steps N] [--compile] [--bfloat16]

The same network, initialization, augmentation, optimizer, schedule and penalty, with channels_last and the images in memory as normalized float32. `OMP_NUM_THREADS` sets the
threads. Prints a JSON line for each seed, then mean and standard deviation over the seeds. With `--steps` it ends after so many steps, and prints the images a second of
all but the first ten.
"""

import argparse
import json
import math
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

EPOCHS, BATCH, RATE, MOMENTUM, LAMBDA, SMOOTHING, DECAY = 12, 512, 0.75, 0.85, 66.5, 0.2, 0.98
# Factors of the learning rate: β of normalizations, and the last layer.
BIAS_FACTOR, HEAD_FACTOR, HEAD_LAMBDA = 64, 0.0123, 5400
WARMUP, FIRST, LAST = 0.23, 0.2, 0.07
RECORD = 1 + 3 * 32 * 32


def normalization(channels):
    norm = nn.BatchNorm2d(channels, momentum=0.4, eps=1e-12)
    norm.weight.requires_grad_(False)
    return norm


def block(inputs, outputs):
    convolution = lambda inputs: nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    first = [convolution(inputs), nn.MaxPool2d(2), normalization(outputs), nn.GELU()]
    return [*first, convolution(outputs), normalization(outputs), nn.GELU()]


def whiten(layer, images):
    """Eigenvectors of the covariance of 2x2 patches over the roots of their eigenvalues, and their negatives."""
    patches = images.unfold(2, 2, 1).unfold(3, 2, 1).permute(0, 2, 3, 1, 4, 5).reshape(-1, 12).double()
    values, vectors = torch.linalg.eigh(torch.cov(patches.T, correction=0))
    filters = (vectors / (values + 5e-4).sqrt()).T.flip(0)
    filters = torch.cat([filters, -filters])
    layer.weight.data = filters.reshape(24, 3, 2, 2).float()
    layer.bias.data = -(filters @ patches.mean(0)).float()
    layer.weight.requires_grad_(False)


def network(images):
    first = nn.Conv2d(3, 24, 2)
    head = nn.Linear(384, 10, bias=False)
    model = nn.Sequential(first, nn.GELU(), *block(24, 64), *block(64, 256), *block(256, 384), nn.AdaptiveMaxPool2d(1), nn.Flatten(), head)
    for layer in model:
        if isinstance(layer, nn.Conv2d) and layer is not first:
            nn.init.dirac_(layer.weight.data[: layer.in_channels])
    whiten(first, images)
    return model.to(memory_format=torch.channels_last)


def read(folder, names):
    files = [np.fromfile(folder / name, np.uint8).reshape(-1, RECORD) for name in names]
    records = np.concatenate(files)
    return torch.tensor(records[:, 1:].reshape(-1, 3, 32, 32)).float() / 255, torch.tensor(records[:, 0].astype(np.int64))


def cut(padded, rows, columns):
    """A batch of 32x32 images, each out of one with a border of two pixels."""
    out = torch.empty(len(padded), 3, 32, 32)
    for row in range(5):
        for column in range(5):
            chosen = (rows == row) & (columns == column)
            out[chosen] = padded[chosen, :, row : row + 32, column : column + 32]
    return out


def rate_at(step, steps):
    """The factor of the learning rate: up along a line, then down along one."""
    rising = WARMUP * steps
    return FIRST + (1 - FIRST) * step / rising if step < rising else 1 - (1 - LAST) * (step - rising) / (steps - 1 - rising)


def evaluated(model):
    """Mean cross-entropy and accuracy on the test images, by the mean of the logits of six views of each image."""
    model.eval()
    loss = correct = 0.0
    with torch.no_grad():
        for x, y in zip(test_x.split(500), test_y.split(500), strict=True):
            around = F.pad(x, (1, 1, 1, 1), "reflect")
            views = [(0.5, x), (0.25, around[:, :, :32, :32]), (0.25, around[:, :, 2:, 2:])]
            logits = sum(weight * (model(view) + model(view.flip(3))) / 2 for weight, view in views)
            loss += F.cross_entropy(logits, y, reduction="sum").item()
            correct += (logits.argmax(1) == y).sum().item()
    return loss / len(test_y), correct / len(test_y)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--seeds", type=int, nargs="+", default=[0])
parser.add_argument("--steps", type=int, help="ends after so many steps")
parser.add_argument("--compile", action="store_true")
parser.add_argument("--bfloat16", action="store_true", help="autocast")
options = parser.parse_args()

train_x, train_y = read(options.folder, [f"data_batch_{number}.bin" for number in range(1, 6)])
test_x, test_y = read(options.folder, ["test_batch.bin"])
mean, deviation = train_x.mean((0, 2, 3), keepdim=True), train_x.std((0, 2, 3), keepdim=True)
train_x, test_x = ((images - mean) / deviation for images in (train_x, test_x))
m = len(train_y)
padded = F.pad(train_x, (2, 2, 2, 2), "reflect")
steps = EPOCHS * math.ceil(m / BATCH)
results = []
for seed in options.seeds:
    torch.manual_seed(seed)
    model = network(train_x[:5000])
    average = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(DECAY), use_buffers=True)
    compute = torch.compile(model) if options.compile else model
    kernels = [layer.weight for layer in model if isinstance(layer, nn.Conv2d)][1:]
    head = model[-1].weight
    groups = [
        ([*kernels, model[0].bias], 1),
        ([layer.bias for layer in model if isinstance(layer, nn.BatchNorm2d)], BIAS_FACTOR),
        ([head], HEAD_FACTOR),
    ]
    optimizer = torch.optim.SGD([{"params": params} for params, _ in groups], lr=RATE, momentum=MOMENTUM, nesterov=True)
    is_flipped = torch.rand(m) < 0.5
    begun, step = time.perf_counter(), 0
    model.train()
    for epoch in range(EPOCHS):
        for batch in torch.randperm(m).split(BATCH):
            if step == 10:
                warm = time.perf_counter()
            if step == options.steps:
                break
            for group, (_, factor) in zip(optimizer.param_groups, groups, strict=True):
                group["lr"] = RATE * factor * rate_at(step, steps)
            step += 1
            x = cut(padded[batch], torch.randint(5, (len(batch),)), torch.randint(5, (len(batch),)))
            flips = is_flipped[batch] ^ (epoch % 2 == 1)
            x = torch.where(flips[:, None, None, None], x.flip(3), x).contiguous(memory_format=torch.channels_last)
            optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, enabled=options.bfloat16):
                loss = F.cross_entropy(compute(x), train_y[batch], label_smoothing=SMOOTHING)
            penalty = LAMBDA / (2 * m) * sum(kernel.square().sum() for kernel in kernels) + HEAD_LAMBDA / (2 * m) * head.square().sum()
            (loss + penalty).backward()
            optimizer.step()
            average.update_parameters(model)
    seconds = time.perf_counter() - begun
    if options.steps:
        speed = (options.steps - 10) * BATCH / (time.perf_counter() - warm)
        print(json.dumps({"images_per_second": round(speed, 1), "seconds_of_a_training": round(EPOCHS * m / speed, 1)}))
        raise SystemExit
    loss, accuracy = evaluated(average.module)
    results.append((loss, accuracy, seconds))
    print(json.dumps({"seed": seed, "test_loss": loss, "test_accuracy": accuracy, "seconds": round(seconds, 1)}), flush=True)

for name, values in zip(["test loss", "test accuracy", "seconds"], zip(*results, strict=True), strict=True):
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    print(f"{name}: {statistics.mean(values):.4f} ± {spread:.4f} (standard deviation, {len(values)} seeds)")
