"""The experiment of `[task] kind = "denoise"` with `model.kind = "dncnn"` in PyTorch, for comparison.

    pip install torch numpy pillow scikit-image safetensors
    python3 benches/peers/denoise.py DIR [--seeds 0 1] [--lambda 0.01] ...

DIR has the folders `train` and `test` with PNG files, all grey or all colour (`benches/photographs.py` writes such). The same recipe: values are byte / 255 and not normalized.
Clean patches are cut from every training picture at every `--stride` rows and columns, as many as lie in it whole. In each epoch they come in a new random order, each in one of
the eight flips and quarter turns, with Gaussian noise of sigma / 255 that is not cut off. The loss is the mean squared error over all pixels plus lambda/(2m)*||kernels||^2, m
the number of patches. Adam with epsilon 1e-7 and a rate that falls along half a cosine to 0; Glorot's uniform initialisation with biases of 0.

Prints a JSON line for each epoch with the mean training error (without the penalty), the seconds and the patches a second, and one at the end with the means over the test
pictures, each taken as a whole with noise of a fixed seed: `mse` of the output as it is, `psnr` and `ssim` (Wang et al. 2004) of the output cut off to 0 to 1, and both of the noisy
picture, cut off too.
"""

import argparse
import json
import os
import time
from pathlib import Path

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path, metavar="DIR")
parser.add_argument("--seeds", type=int, nargs="+", default=[0])
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--depth", type=int, default=7)
parser.add_argument("--width", type=int, default=32)
parser.add_argument("--sigma", type=float, default=25.0, help="deviation of the noise on pixels from 0 to 255")
parser.add_argument("--patch", type=int, default=40)
parser.add_argument("--stride", type=int, default=20)
parser.add_argument("--batch", type=int, default=32)
parser.add_argument("--rate", type=float, default=0.001)
parser.add_argument("--lambda", type=float, default=0.0, dest="lambda_")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--channels-last", action="store_true", help="store images channels-last, as PyTorch's kernels may prefer")
parser.add_argument("--init", type=Path, metavar="FILE", help="start from these weights: a safetensors file, such as `regulus export` writes")
parser.add_argument("--save", type=Path, metavar="FILE", help="save the weights of the last seed as safetensors")
asked = parser.parse_args()
os.environ["OMP_NUM_THREADS"] = str(asked.threads)

import numpy as np  # noqa: E402  reads the environment
import torch  # noqa: E402
from PIL import Image  # noqa: E402
from safetensors.torch import load_file  # noqa: E402
from skimage.metrics import structural_similarity  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

torch.set_num_threads(asked.threads)
LAYOUT = torch.channels_last if asked.channels_last else torch.contiguous_format
NOISE_SEED = 25


class DnCNN(nn.Module):
    """DnCNN (Zhang et al. 2017, arXiv 1608.03981), which finds the noise, and takes it off the image. Names are Regulus' own."""

    def __init__(self, channels):
        super().__init__()
        self.depth = asked.depth
        for number in range(1, self.depth + 1):
            is_first, is_last = number == 1, number == self.depth
            inputs, outputs = channels if is_first else asked.width, channels if is_last else asked.width
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, bias=is_first or is_last)
            nn.init.xavier_uniform_(conv.weight)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
            self.add_module(f"conv{number}", conv)
            if not (is_first or is_last):
                self.add_module(f"batch_norm{number - 1}", nn.BatchNorm2d(outputs))

    def forward(self, image):
        noise = F.relu(self.conv1(image))
        for number in range(2, self.depth):
            noise = F.relu(self.get_submodule(f"batch_norm{number - 1}")(self.get_submodule(f"conv{number}")(noise)))
        return image - self.get_submodule(f"conv{self.depth}")(noise)


def pictures(split):
    """Names and values from 0 to 1, [channel, row, column]."""
    for path in sorted((asked.folder / split).glob("*.png")):
        pixels = np.asarray(Image.open(path))
        yield path.stem, torch.tensor(pixels.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1) / np.float32(255))


def cut(picture):
    """Patches in the order of rows, [patch, channel, row, column]."""
    patches = picture.unfold(1, asked.patch, asked.stride).unfold(2, asked.patch, asked.stride)
    return patches.permute(1, 2, 0, 3, 4).flatten(0, 1)


def turned(patches, generator):
    """Each patch in one of its eight flips and quarter turns."""
    turns = torch.randint(8, (len(patches),), generator=generator)
    out = torch.empty_like(patches)
    for turn in range(8):
        some = patches[turns == turn].rot90(turn % 4, (2, 3))
        out[turns == turn] = some.flip(3) if turn >= 4 else some
    return out


def measures(found, clean):
    """PSNR and SSIM of what is cut off to 0 to 1."""
    found, clean = (values.clamp(0, 1).double().numpy() for values in (found, clean))
    keys = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False, "data_range": 1.0, "channel_axis": 0}
    return -10 * np.log10(np.square(found - clean).mean()), structural_similarity(found, clean, **keys)


def tested(model):
    model.eval()
    rows = []
    for number, (name, clean) in enumerate(pictures("test")):
        noise = np.random.default_rng([NOISE_SEED, number]).normal(0, asked.sigma / 255, clean.shape)
        noisy = clean + torch.tensor(noise, dtype=torch.float32)
        with torch.no_grad():
            found = model(noisy[None].contiguous(memory_format=LAYOUT))[0]
        psnr, ssim = measures(found, clean)
        noisy_psnr, noisy_ssim = measures(noisy, clean)
        mse = F.mse_loss(found, clean).item()
        rows.append({"name": name, "mse": mse, "psnr": psnr, "ssim": ssim, "noisy_psnr": noisy_psnr, "noisy_ssim": noisy_ssim})
    return rows


patches = torch.cat([cut(picture) for _, picture in pictures("train")])
m = len(patches)
for seed in asked.seeds:
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    model = DnCNN(patches.shape[1]).to(memory_format=LAYOUT)
    if asked.init:
        model.load_state_dict(load_file(asked.init), strict=False)
    kernels = [parameter for parameter in model.parameters() if parameter.dim() > 1]
    optimizer = torch.optim.Adam(model.parameters(), lr=asked.rate, eps=1e-7, fused=True)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, asked.epochs * -(-m // asked.batch))
    for epoch in range(1, asked.epochs + 1):
        model.train()
        begun, total = time.perf_counter(), 0.0
        for batch in torch.randperm(m, generator=generator).split(asked.batch):
            clean = turned(patches[batch], generator)
            noisy = clean + torch.randn(clean.shape, generator=generator) * (asked.sigma / 255)
            clean, noisy = (values.contiguous(memory_format=LAYOUT) for values in (clean, noisy))
            optimizer.zero_grad()
            loss = F.mse_loss(model(noisy), clean)
            (loss + asked.lambda_ / (2 * m) * sum(kernel.square().sum() for kernel in kernels)).backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(batch)
        seconds = time.perf_counter() - begun
        row = {"seed": seed, "epoch": epoch, "mse": total / m, "seconds": round(seconds, 1), "patches_per_second": round(m / seconds)}
        print(json.dumps(row), flush=True)
    rows = tested(model)
    means = {key: float(np.mean([row[key] for row in rows])) for key in ("mse", "psnr", "ssim", "noisy_psnr", "noisy_ssim")}
    squares = sum(kernel.square().sum().item() for kernel in kernels)
    print(json.dumps({"seed": seed, "patches": m, "parameters": sum(value.numel() for value in model.parameters()), "lambda": asked.lambda_,
                      "kernels_squared": squares, **means, "pictures": {row.pop("name"): row for row in rows}}), flush=True)
if asked.save:
    from safetensors.torch import save_file

    save_file({name: value.contiguous() for name, value in model.state_dict().items() if not name.endswith("num_batches_tracked")}, asked.save)
