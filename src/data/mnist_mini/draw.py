"""Draws the mnist_mini subset from the official MNIST files.

    python3 draw.py FOLDER_WITH_THE_FOUR_MNIST_GZ_FILES

500 training and 100 test images of each digit, chosen without replacement by Python's Mersenne Twister seeded with 1998,
then shuffled together. Pixels and labels are copied unchanged; only the selection and the order are new. The four files are
written beside this script, gzip-compressed with no time stamp, so a second run writes the same bytes.
"""

import gzip
import random
import struct
import sys
from pathlib import Path

HERE = Path(__file__).parent
PER_CLASS = {"train": 500, "t10k": 100}


def read(path, header):
    raw = gzip.decompress(path.read_bytes())
    return struct.unpack(f">{header}I", raw[: 4 * header]), raw[4 * header :]


def write(path, header, body):
    with open(path, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as out:
        out.write(struct.pack(f">{len(header)}I", *header) + body)


source = Path(sys.argv[1])
for part, per_class in PER_CLASS.items():
    (_, count, height, width), pixels = read(source / f"{part}-images-idx3-ubyte.gz", 4)
    _, labels = read(source / f"{part}-labels-idx1-ubyte.gz", 2)
    draw = random.Random(1998)
    chosen = []
    for digit in range(10):
        members = [i for i in range(count) if labels[i] == digit]
        chosen += draw.sample(members, per_class)
    draw.shuffle(chosen)
    size = height * width
    body = b"".join(pixels[i * size : (i + 1) * size] for i in chosen)
    write(HERE / f"{part}-images-idx3-ubyte.gz", (2051, len(chosen), height, width), body)
    write(HERE / f"{part}-labels-idx1-ubyte.gz", (2049, len(chosen)), bytes(labels[i] for i in chosen))
