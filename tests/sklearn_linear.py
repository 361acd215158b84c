"""Trains softmax regression to convergence and checks that it is scikit-learn's LogisticRegression with C = 1/lambda, with L2 and with L1.

    pip install scikit-learn safetensors numpy
    cargo build --release
    python3 tests/sklearn_linear.py target/release/regulus

Both make sum(CE) + lambda/2*||W||^2 or sum(CE) + lambda*sum|W| small on the 5,000 training images of mnist_mini, the bias left out; Regulus by gradient descent with momentum,
for L1 with proximal steps, scikit-learn by L-BFGS and SAGA. Objectives are computed here, in float64, from the weights of either.
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
kind = "{kind}"
lambda = {strength}
{proximal}
[optimizer]
kind = "sgd"
momentum = {momentum}
learning_rate = 0.1
[train]
epochs = {epochs}
batch_size = "full"
micro_batch = 5000
"""


def read(subset):
    pixels = np.frombuffer(gzip.decompress((FOLDER / f"{subset}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = np.frombuffer(gzip.decompress((FOLDER / f"{subset}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    return pixels.reshape(-1, 784) / 255, labels


def objective(x, y, weights, bias, kind, strength):
    logits = x @ weights.T + bias
    top = logits.max(1)
    losses = np.log(np.exp(logits - top[:, None]).sum(1)) + top - logits[np.arange(len(y)), y]
    return losses.sum() + strength * (0.5 * np.square(weights).sum() if kind == "l2" else np.abs(weights).sum())


def regulus(kind, strength, momentum, epochs):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        proximal = "proximal = true" if kind == "l1" else ""
        (folder / "config.toml").write_text(CONFIG.format(kind=kind, strength=strength, momentum=momentum, epochs=epochs, proximal=proximal))
        train = [REGULUS, "train", "config.toml", "--run-dir", "run", "--json"]
        ended = json.loads(subprocess.run(train, cwd=folder, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.splitlines()[-1])
        subprocess.run([REGULUS, "export", "run", "--output", "model.safetensors"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        tensors = load_file(folder / "model.safetensors")
    weights, bias = tensors["dense1.weight"].astype(np.float64), tensors["dense1.bias"].astype(np.float64)
    summary = ended["summary"]
    return weights, bias, len(read("train")[1]) * (summary["train"]["data_loss"] + summary["penalty"])


def sklearn(x, y, kind, strength):
    how = {"solver": "lbfgs", "tol": 1e-8} if kind == "l2" else {"solver": "saga", "l1_ratio": 1.0, "tol": 1e-3}
    model = LogisticRegression(C=1 / strength, max_iter=20000, random_state=0, **how)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.fit(x, y)
    return model.coef_, model.intercept_


x, y = read("train")
x_test, _ = read("t10k")
for kind, strength, momentum, epochs in [("l2", 100, 0.95, 1000), ("l2", 10, 0.97, 1300), ("l2", 1, 0.99, 2000), ("l1", 10, 0.97, 1500)]:
    begun = time.time()
    weights, bias, reported = regulus(kind, strength, momentum, epochs)
    middle = time.time()
    their_weights, their_bias = sklearn(x, y, kind, strength)
    own, theirs = objective(x, y, weights, bias, kind, strength), objective(x, y, their_weights, their_bias, kind, strength)
    same = np.mean((x_test @ weights.T + bias).argmax(1) == (x_test @ their_weights.T + their_bias).argmax(1))
    zeros = np.mean((weights == 0) == (their_weights == 0))
    print(
        f"{kind}, lambda {strength}: objective {own:.4f} (reported {reported:.4f}) against {theirs:.4f}, {100 * same:.1f} % of test predictions the same; "
        + (f"{100 * np.mean(weights == 0):.1f} % of weights 0, {100 * zeros:.1f} % of them as there; " if kind == "l1" else "")
        + f"{middle - begun:.0f} s and {time.time() - middle:.0f} s",
        flush=True,
    )
    assert abs(own / theirs - 1) < (1e-4 if kind == "l2" else 1e-3)
    assert abs(reported / own - 1) < 1e-5
    assert same >= 0.995 or kind == "l1"
    assert zeros >= 0.98 or kind == "l2"
