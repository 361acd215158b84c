"""EfficientNet-Lite0 on photographs of 128x128 on a CPU: `regulus` and PyTorch in turns.

    pip install torch pillow efficientnet-lite-pytorch==0.1.0
    cargo build --release --bins --example inference
    python3 benches/peers/efficientnet.py FOLDER [--rounds 3] [--threads 2] [--compile] [--bf16]

FOLDER holds a folder of image files for each class, under `train`: such as `balanced` of benches/photographs/make.py. Each round trains every program, all layers from random weights, on
the same number of images (10 batches of 32), the first epoch uncounted, and infers batches of 32 from numbers to logits. Prints the medians of the rounds in images/s, and the ratio
to the best float32 of PyTorch. Both train with SGD, Nesterov momentum and L2. `--bf16` adds `regulus` with `backend.precision = "bf16"`, for which the processor
needs AMX. PyTorch: eager, or with `--compile` torch.compile too; channels_last or not; float32, or bfloat16 by autocast.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch
from efficientnet_lite_pytorch import EfficientNet
from torch.nn import functional as F

import turns

SIDE, BATCH, IMAGES, RATE = 128, 32, 320, 0.01
CONFIG = f"""name = "efficientnet"
[data]
source = "folder"
image_size = [{SIDE}, {SIDE}]
image_channels = 3
train_limit = {IMAGES}
normalization = "lite"
[model]
kind = "efficientnet_lite0"
[[penalty]]
kind = "l2"
lambda = 1
[optimizer]
kind = "sgd"
learning_rate = {RATE}
momentum = 0.9
nesterov = true
[train]
epochs = 3
batch_size = {BATCH}
"""


class PyTorch:
    def __init__(self, compiled, channels_last, half):
        torch.manual_seed(0)
        self.name = f"PyTorch {'compiled' if compiled else 'eager'}{', channels_last' if channels_last else ''}, {'bfloat16' if half else 'float32'}"
        form = torch.channels_last if channels_last else torch.contiguous_format
        self.half = half
        self.images = torch.randn(IMAGES, 3, SIDE, SIDE).contiguous(memory_format=form)
        self.labels = torch.randint(10, (IMAGES,))
        self.model = EfficientNet.from_name("efficientnet-lite0", image_size=[SIDE, SIDE], num_classes=10).to(memory_format=form)
        self.called = torch.compile(self.model) if compiled else self.model
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=RATE, momentum=0.9, nesterov=True, weight_decay=1 / IMAGES)
        self.measure()

    def measure(self):
        self.model.train()
        begun = time.perf_counter()
        for images, labels in zip(self.images.split(BATCH), self.labels.split(BATCH), strict=True):
            self.optimizer.zero_grad()
            with torch.autocast("cpu", torch.bfloat16, self.half):
                loss = F.cross_entropy(self.called(images), labels)
            loss.backward()
            self.optimizer.step()
        training = IMAGES / (time.perf_counter() - begun)
        self.model.eval()
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16, self.half):
            self.called(self.images[:BATCH])
            begun = time.perf_counter()
            for images in self.images.split(BATCH):
                self.called(images)
        return training, IMAGES / (time.perf_counter() - begun)


def regulus(folder, threads, scratch, half):
    config = scratch / "config.toml"
    config.write_text(CONFIG)
    return turns.Regulus(config, [f"data.dir={folder}", f"backend.threads={threads}"], BATCH, scratch, half)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--compile", action="store_true")
    parser.add_argument("--bf16", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as scratch:
        halves = (False, True) if options.bf16 else (False,)
        programs = [regulus(options.folder.resolve(), options.threads, Path(scratch), half) for half in halves]
        for compiled in (False, True) if options.compile else (False,):
            for channels_last in (False, True):
                programs += [PyTorch(compiled, channels_last, half) for half in (False, True)]
        head = f"| batch {BATCH}, {options.threads} threads | training, images/s | to the best float32 | inference, images/s | to the best float32 |"
        turns.table(programs, options.rounds, head)


main()
