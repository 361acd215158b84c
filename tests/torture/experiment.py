"""The small experiments that the faults are done to, and their data."""

import struct

# All of the training state: dropout, shuffled and changed images, two steps of λ, Adam's moments, a moving average.
STATE = """
name = "torture"
seed = 3

[data]
source = "idx"
dir = "data"
train_images = "train-images"
train_labels = "train-labels"
test_images = "test-images"
test_labels = "test-labels"
validation = 0.2
normalization = "standard"

[model]
channels = [8, 8]
hidden = 16
dropout = 0.3

[[penalty]]
kind = "l2"
lambda = 0.5
scope = "conv1.weight"
schedule = { kind = "cosine" }

[[penalty]]
kind = "l2"
lambda = 1
scope = "conv2.weight"
schedule = { kind = "evidence", burn_in_epochs = 1, every_epochs = 1 }

[[penalty]]
kind = "group_lasso"
lambda = 0.3
scope = "dense*.weight"
proximal = true

[augment]
shift = 1
mixup = 0.2

[averaging]
kind = "ema"
decay = 0.9

[train]
epochs = 3
batch_size = 16

[checkpoint]
every_steps = 3
"""

# Few bytes: its run folder is changed byte by byte.
FEW_BYTES = """
name = "few"
seed = 3

[data]
source = "idx"
dir = "data"
train_images = "train-images"
train_labels = "train-labels"
test_images = "test-images"
test_labels = "test-labels"
classes = ["circle", "square", "cross"]
validation = 0.2
normalization = "standard"

[model]
channels = [1]
hidden = 2

[[penalty]]
kind = "l2"
lambda = 0.5

[train]
epochs = 2
batch_size = 8

[checkpoint]
every_steps = 2
"""


def idx(sizes, body):
    """An IDX file of bytes."""
    return bytes([0, 0, 8, len(sizes)]) + b"".join(struct.pack(">I", size) for size in sizes) + bytes(body)


def samples(draw, count, side, classes):
    """Images with classes that can be distinguished: noise, with a bright square whose position is the class."""
    labels = [index % classes for index in range(count)]
    pixels = bytearray(draw.randrange(60) for _ in range(count * side * side))
    for index, label in enumerate(labels):
        for row in range(side // 2):
            start = index * side * side + (row + label % 2 * (side // 2)) * side + label // 2 % 2 * (side // 2)
            for column in range(start, start + side // 2):
                pixels[column] = 120 + draw.randrange(120)
    return idx([count, side, side], pixels), idx([count], labels)


def prepare(folder, draw, config, train=96, test=24, side=12, classes=3):
    """Writes config and data into the folder."""
    (folder / "data").mkdir(parents=True, exist_ok=True)
    (folder / "config.toml").write_text(config)
    for subset, count in (("train", train), ("test", test)):
        images, labels = samples(draw, count, side, classes)
        (folder / "data" / f"{subset}-images").write_bytes(images)
        (folder / "data" / f"{subset}-labels").write_bytes(labels)
    return folder
