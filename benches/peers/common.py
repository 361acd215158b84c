"""What the peers share: the data, the starting weights, the clock and the command line."""

import argparse
import gzip
import json
import os
import time
from pathlib import Path

STARTED = float(os.environ.get("PEER_STARTED") or time.time())
THREADS, RATE, EPSILON, LAMBDA, SAMPLES = 2, 0.001, 1e-7, 0.001, 60_000
BETA_1, BETA_2 = 0.9, 0.999

for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"):
    os.environ.setdefault(name, str(THREADS))

import numpy as np  # noqa: E402  reads the environment


def read(folder, subset):
    """Images as floats from 0 to 1, [n, 28, 28], and labels."""
    images = np.frombuffer(gzip.decompress((folder / f"{subset}-images-idx3-ubyte.gz").read_bytes())[16:], np.uint8)
    labels = np.frombuffer(gzip.decompress((folder / f"{subset}-labels-idx1-ubyte.gz").read_bytes())[8:], np.uint8)
    return np.multiply(images.reshape(-1, 28, 28), np.float32(1 / 255)), labels.astype(np.int32)


def weights():
    """The same start for every peer: kernel, bias, kernel, ... with channels last and inputs before outputs, Glorot's initialisation."""
    random, values = np.random.default_rng(0), []
    for shape in ((3, 3, 1, 32), (3, 3, 32, 64), (1600, 128), (128, 10)):
        field = int(np.prod(shape[:-2]))
        limit = (6 / (field * (shape[-2] + shape[-1]))) ** 0.5
        values += [random.uniform(-limit, limit, shape).astype(np.float32), np.zeros(shape[-1], np.float32)]
    return values


def train(make, task, variant, batch, folder, quick):
    """`make` gives a function that does at least so many steps and tells how many, the last loss and the seconds."""
    begun = time.time()
    images, labels = read(folder, "train")
    data_seconds = time.time() - begun
    run = make(variant, batch, images, labels, task == "start")
    run(1)
    if task == "start":
        return {"start_seconds": time.time() - STARTED, "data_seconds": data_seconds}
    run(100)
    steps, loss, seconds = run(200 if quick else len(labels) // batch)
    return {"images_per_second": steps * batch / seconds, "loss": float(loss), "seconds": seconds}


def infer(make, variant, batch, folder, quick):
    """`make` gives a function and a list of its inputs; it returns logits that are there when it returns."""
    images, _ = read(folder, "t10k")
    predict, inputs = make(variant, [images[first : first + batch] for first in range(0, 10_000 if batch > 1 else 1000, batch)])
    result = {"logits": np.asarray(predict(inputs[0]))[0].tolist()}
    for index in range(200 if batch == 1 else 10):
        predict(inputs[index % len(inputs)])
    if batch == 1:
        times = []
        for index in range(300 if quick else 5000):
            begun = time.perf_counter()
            predict(inputs[index % len(inputs)])
            times.append(1e6 * (time.perf_counter() - begun))
        return {**result, "us": float(np.median(times)), "p90_us": float(np.percentile(times, 90))}
    begun, done = time.perf_counter(), 0
    while (seconds := time.perf_counter() - begun) < (1 if quick else 6):
        predict(inputs[done % len(inputs)])
        done += 1
    return {**result, "images_per_second": done * batch / seconds}


def main(version, trainer, predictor):
    """Does what the command line says and prints one line of JSON. `trainer` may be None."""
    parser = argparse.ArgumentParser()
    parser.add_argument("task", choices=["train", "start", "infer"] if trainer else ["infer"])
    parser.add_argument("variant", help="words joined by _, see the top of the file")
    parser.add_argument("batch", type=int)
    parser.add_argument("folder", type=Path, help="folder with the four MNIST .gz files")
    parser.add_argument("--quick", action="store_true")
    got = parser.parse_args()
    variant = got.variant.split("_")
    if got.task == "infer":
        result = infer(predictor, variant, got.batch, got.folder, got.quick)
    else:
        result = train(trainer, got.task, variant, got.batch, got.folder, got.quick)
    print(json.dumps({"version": version, **result}), flush=True)
