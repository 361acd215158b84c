"""Trains softmax regression to convergence and checks that it is scikit-learn's LogisticRegression with C = 1/lambda.

    pip install scikit-learn safetensors numpy
    cargo build --release
    python3 tests/sklearn_linear.py target/release/regulus

Both make sum(CE) + lambda/2*||W||^2 small on the 5,000 training images of mnist_mini, the bias left out; scikit-learn by L-BFGS. Objectives are computed here, in float64,
from the weights of either.
"""

import gzip
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression

REGULUS = Path(sys.argv[1]).resolve()
FOLDER = Path(__file__).parents[1] / "src/data/mnist_mini"
CONFIG = """
name = "linear"
[data]
source = "mnist_mini"
[model]
kind = "linear"
[[penalty]]
kind = "l2"
lambda = {strength}
[optimizer]
kind = "sgd"
momentum = 0.99
nesterov = true
learning_rate = 0.03
[train]
epochs = {epochs}
batch_size = "full"
micro_batch = 5000
"""


def read(part):
    pixels = np.frombuffer(gzip.decompress((FOLDER / f"{part}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = np.frombuffer(gzip.decompress((FOLDER / f"{part}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    return pixels.reshape(-1, 784) / 255, labels


def objective(x, y, weights, bias, strength):
    logits = x @ weights.T + bias
    top = logits.max(1)
    losses = np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(len(y)), y]
    return losses.sum() + strength * 0.5 * np.square(weights).sum()


def regulus(strength, epochs):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        (folder / "config.toml").write_text(CONFIG.format(strength=strength, epochs=epochs))
        train = [REGULUS, "train", "config.toml", "--run-dir", "run", "--json"]
        ended = json.loads(subprocess.run(train, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.splitlines()[-1])
        subprocess.run([REGULUS, "export", "run", "--output", "model.safetensors"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        tensors = load_file(folder / "model.safetensors")
    weights, bias = tensors["dense1.weight"].astype(np.float64), tensors["dense1.bias"].astype(np.float64)
    summary = ended["summary"]
    return weights, bias, len(read("train")[1]) * (summary["train"]["data_loss"] + summary["penalty"])


def sklearn(x, y, strength):
    model = LogisticRegression(C=1 / strength, solver="lbfgs", tol=1e-8, max_iter=20000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, y)
    return model.coef_, model.intercept_


x, y = read("train")
x_test, _ = read("t10k")
for strength, epochs in [(100, 1000), (10, 2500), (1, 6000)]:
    begun = time.time()
    weights, bias, told = regulus(strength, epochs)
    middle = time.time()
    their_weights, their_bias = sklearn(x, y, strength)
    own, theirs = objective(x, y, weights, bias, strength), objective(x, y, their_weights, their_bias, strength)
    same = np.mean((x_test @ weights.T + bias).argmax(1) == (x_test @ their_weights.T + their_bias).argmax(1))
    print(
        f"lambda {strength}: objective {own:.4f} (told {told:.4f}) against {theirs:.4f}, {100 * same:.1f} % of test predictions the same; "
        f"{middle - begun:.0f} s and {time.time() - middle:.0f} s",
        flush=True,
    )
    assert abs(own / theirs - 1) < 1e-4
    assert abs(told / own - 1) < 1e-5
    assert same >= 0.995
