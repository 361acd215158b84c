"""The networks and trainings of `gpu_regulus.py` in PyTorch, on a GPU.

    python3 benches/peers/gpu_torch.py FOLDER_WITH_MNIST FOLDER_WITH_CIFAR_10 [NETWORK:BATCH:EPOCHS:MODE:PRECISION ...]

One line of JSON for each training, as of `gpu_regulus.py`. The images are on the GPU as float32, normalized and channels_last. MODE is eager, compile
(torch.compile of forward pass and loss) or graphs (torch.compile in the mode `reduce-overhead`, with CUDA graphs). PRECISION is float32 (TF32 off) or
tf32 (allowed). The last, smaller batch of an epoch is left out, because torch.compile would compile it anew.
"""

import gzip
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

RATE, EPSILON, MOMENTS = 0.001, 1e-7, (0.9, 0.999)
LAMBDA = {"cnn": 0.001, "resnet9": 1.0}
mnist, cifar10 = map(Path, sys.argv[1:3])
jobs = sys.argv[3:] or [
    f"{network}:{batch}:5:{mode}:{precision}"
    for mode in ("eager", "compile", "graphs")
    for precision in ("float32", "tf32")
    for network, batches in (("cnn", (32, 128, 1000)), ("resnet9", (128, 512)))
    for batch in batches
]


def read_mnist(subset):
    images = np.frombuffer(gzip.decompress((mnist / f"{subset}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = np.frombuffer(gzip.decompress((mnist / f"{subset}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    return images.reshape(-1, 1, 28, 28) / np.float32(255), labels


def read_cifar10(names):
    folder = cifar10 / "cifar-10-batches-bin" if (cifar10 / "cifar-10-batches-bin").exists() else cifar10
    records = np.concatenate([np.fromfile(folder / f"{name}.bin", np.uint8).reshape(-1, 3073) for name in names])
    return records[:, 1:].reshape(-1, 3, 32, 32) / np.float32(255), records[:, 0]


def data(network):
    if network == "cnn":
        train, test = read_mnist("train"), read_mnist("t10k")
    else:
        train, test = read_cifar10([f"data_batch_{number}" for number in range(1, 6)]), read_cifar10(["test_batch"])
        mean, deviation = (statistic(train[0], (0, 2, 3), keepdims=True) for statistic in (np.mean, np.std))
        train, test = (((images - mean) / deviation, labels) for images, labels in (train, test))
    to_gpu = lambda images, labels: (
        torch.tensor(images, dtype=torch.float32, device="cuda").to(memory_format=torch.channels_last),
        torch.tensor(labels, dtype=torch.int64, device="cuda"),
    )
    return to_gpu(*train), to_gpu(*test)


class Residual(nn.Module):
    def __init__(self, channels):
        super().__init__()
        self.layers = nn.Sequential(*convolution(channels, channels), *convolution(channels, channels))

    def forward(self, x):
        return x + self.layers(x)


def convolution(inputs, outputs):
    return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU()


def model_of(network):
    if network == "cnn":
        model = nn.Sequential(
            *(nn.Conv2d(1, 32, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(32, 64, 3), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(1600, 128), nn.ReLU(), nn.Linear(128, 10)),
        )
    else:
        model = nn.Sequential(
            *convolution(3, 64),
            *convolution(64, 128),
            *(nn.MaxPool2d(2), Residual(128)),
            *convolution(128, 256),
            nn.MaxPool2d(2),
            *convolution(256, 512),
            *(nn.MaxPool2d(2), Residual(512), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(512, 10)),
        )
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            nn.init.xavier_uniform_(layer.weight) if network == "cnn" else nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
    return model.cuda().to(memory_format=torch.channels_last)


def measured(network, batch, epochs, mode, precision):
    torch.manual_seed(0)
    torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    torch.backends.cudnn.allow_tf32 = precision == "tf32"
    (x, y), (test_x, test_y) = data(network)
    batch, epochs, count = int(batch), int(epochs), len(y)
    model = model_of(network)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    kernels = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    optimizer = torch.optim.Adam(model.parameters(), lr=RATE, betas=MOMENTS, eps=EPSILON, fused=True)

    def objective(x, y):
        data_loss = F.cross_entropy(model(x), y)
        return data_loss + LAMBDA[network] / (2 * count) * sum(kernel.square().sum() for kernel in kernels), data_loss

    if mode != "eager":
        torch._dynamo.reset()
        objective = torch.compile(objective, mode="reduce-overhead" if mode == "graphs" else None, dynamic=False)
    speeds, seconds, total = [], [], torch.zeros((), device="cuda")
    for _ in range(epochs):
        torch.cuda.synchronize()
        begun = time.perf_counter()
        steps = count // batch
        total.zero_()
        for indices in torch.randperm(count, device="cuda")[: steps * batch].split(batch):
            optimizer.zero_grad()
            loss, data_loss = objective(x[indices], y[indices])
            loss.backward()
            optimizer.step()
            total += data_loss.detach()
        train_loss = total.item() / steps
        seconds.append(time.perf_counter() - begun)
        speeds.append(steps * batch / seconds[-1])
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model(images) for images in test_x.split(500)])
        torch.cuda.synchronize()
        begun = time.perf_counter()
        for _ in range(5):
            [model(images) for images in test_x.split(500)]
        torch.cuda.synchronize()
        inference = 5 * len(test_y) / (time.perf_counter() - begun)
    return {
        "images_per_second": round(statistics.median(speeds[1:])),
        "epochs": [round(speed) for speed in speeds],
        "first_epoch_seconds": round(seconds[0], 2),
        "train_loss": round(train_loss, 4),
        "test_loss": round(F.cross_entropy(logits, test_y).item(), 4),
        "test_accuracy": (logits.argmax(1) == test_y).float().mean().item(),
        "inference_eager_batch_500": round(inference),
        "parameters": parameters,
    }


print(json.dumps({"torch": torch.__version__, "cuda": torch.version.cuda, "device": torch.cuda.get_device_name()}), flush=True)
for job in jobs:
    network, batch, _, mode, precision = job.split(":")
    try:
        found = measured(*job.split(":"))
    except Exception as error:  # noqa: BLE001  the other variants are measured all the same
        found = {"error": f"{type(error).__name__}: {error}"[:500]}
    print(json.dumps({"network": network, "batch": int(batch), "mode": mode, "precision": precision, **found}), flush=True)
