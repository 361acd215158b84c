"""What an L2 penalty does to kernels that batch normalization follows: the table and the figure of docs/regularization.md.

    pip install matplotlib
    python3 benches/batch_norm.py docs/batch-norm.svg > table.md

Trains a network of two normalized convolutions and a dense layer on 5,000 images of MNIST by stochastic gradient descent with a constant rate. The kernels have rates of their own
and a penalty of their own; everything else is the same in all trainings.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

PROGRAM = os.environ.get("REGULUS", "target/release/regulus")
EPOCHS, RATE, SEEDS, KERNEL = 10, 0.05, 3, "conv2.weight"
LAMBDAS, FACTORS = [0, 10, 100, 1000], [0.2, 1, 5]
CONFIG = f"""name = "batch_norm"
[data]
source = "mnist_mini"
[model]
kind = "layers"
layers = ["conv 16 3x3 padding 1 bias false", "batch_norm", "relu", "max_pool 2", "conv 32 3x3 padding 1 bias false", "batch_norm", "relu", "max_pool 2", "flatten", "dense classes"]
[[penalty]]
kind = "l2"
scope = "conv*.weight"
lambda = 0
[optimizer]
kind = "sgd"
learning_rate = {RATE}
[[optimizer.group]]
scope = "conv*.weight"
factor = 1
[train]
epochs = {EPOCHS}
batch_size = 100
"""


def trained(folder, seed, factor, penalty):
    """The effective rate of the second convolution after each epoch, and the test cross-entropy."""
    config, run = folder / "config.toml", folder / f"{seed}-{factor}-{penalty}"
    config.write_text(CONFIG)
    sets = [f"seed={seed}", f"penalty.0.lambda={penalty}", f"optimizer.group.0.factor={factor}"]
    words = [word for key in sets for word in ("--set", key)]
    subprocess.run([PROGRAM, "train", config, "--run-dir", run, "--no-report", "--no-tensorboard", *words], check=True, capture_output=True)
    squares = [json.loads(line)["parameters"][KERNEL]["squares"] for line in (run / "weights.jsonl").read_text().splitlines()]
    loss = json.loads((run / "evaluation.json").read_text())["classification"]["data_loss"]
    return [RATE * factor / square for square in squares], loss


def mean(numbers):
    numbers = list(numbers)
    return sum(numbers) / len(numbers)


with tempfile.TemporaryDirectory() as name:
    found = {(factor, penalty): [trained(Path(name), seed, factor, penalty) for seed in range(SEEDS)] for factor in FACTORS for penalty in LAMBDAS}
rates = {key: mean(rates[-1] for rates, _ in runs) for key, runs in found.items()}
losses = {key: mean(loss for _, loss in runs) for key, runs in found.items()}

print("| rate of the kernels | " + " | ".join(f"λ = {penalty:,}" for penalty in LAMBDAS) + " |\n|---|" + "---|" * len(LAMBDAS))
for factor in FACTORS:
    cells = [f"{rates[factor, penalty]:.4f}: {losses[factor, penalty]:.3f}" for penalty in LAMBDAS]
    print(f"| {RATE * factor:g} | " + " | ".join(cells) + " |")

figure, (course, end) = pyplot.subplots(1, 2, figsize=(10, 4))
for penalty, colour in zip(LAMBDAS, ("tab:blue", "tab:orange", "tab:green", "tab:red"), strict=True):
    label = f"λ = {penalty:,}"
    course.plot(range(EPOCHS + 1), [mean(runs[at] for runs, _ in found[1, penalty]) for at in range(EPOCHS + 1)], color=colour, label=label)
    end.plot([rates[factor, penalty] for factor in FACTORS], [losses[factor, penalty] for factor in FACTORS], "o", color=colour, label=label)
course.set(yscale="log", xlabel="epoch", ylabel="effective rate of conv2, η / ‖w‖²", title=f"rate of the kernels η = {RATE:g}", xticks=range(0, EPOCHS + 1, 2))
end.set(xscale="log", yscale="log", xlabel="effective rate of conv2 at the end", ylabel="test cross-entropy", title="all rates and λ")
for axes in (course, end):
    axes.legend()
    axes.grid(alpha=0.3)
figure.tight_layout()
figure.savefig(sys.argv[1], metadata={"Date": None})
