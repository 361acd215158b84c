"""Writes folders of PNG photographs from CIFAR-10's binary files.

    pip install numpy pillow
    python3 benches/photographs/make.py --cifar10 DIR OUT [--seed N]

DIR has data_batch_1.bin to data_batch_5.bin and test_batch.bin. OUT/balanced gets 100 images of each class for training and 200 of each for testing, of 32x32 pixels.
OUT/imbalanced gets five classes with 300, 140, 90, 50 and 25 photographs of mixed sizes for training, and 200 of each for testing. The smallest class is `cat`, beside
`dog`. Training images come from the training files and test images from the test file, drawn by the seed.

A photograph of mixed size is the image enlarged by a factor of 1.5 to 6 (Lanczos), of which a random part is cut out that has at least 0.8 of each side.
"""

import argparse
from pathlib import Path

import numpy as np
from PIL import Image

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
BALANCED = (100, 200)
IMBALANCED = {"automobile": 300, "dog": 140, "horse": 90, "bird": 50, "cat": 25}
TEST = 200


def read(files):
    records = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files])
    return records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), records[:, 0]


def mixed(image, random):
    factor = random.uniform(1.5, 6)
    width, height = (round(32 * factor * random.uniform(0.8, 1)) for _ in range(2))
    side = round(32 * factor)
    left, top = random.integers(0, side - width + 1), random.integers(0, side - height + 1)
    return image.resize((side, side), Image.Resampling.LANCZOS).crop((left, top, left + width, top + height))


def write(folder, images, random, is_mixed):
    folder.mkdir(parents=True, exist_ok=True)
    for number, pixels in enumerate(images):
        image = Image.fromarray(pixels)
        (mixed(image, random) if is_mixed else image).save(folder / f"{number:04}.png")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cifar10", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    train = read([args.cifar10 / f"data_batch_{number}.bin" for number in range(1, 6)])
    test = read([args.cifar10 / "test_batch.bin"])
    for name, counts, is_mixed in ("balanced", dict.fromkeys(CLASSES, BALANCED[0]), False), ("imbalanced", IMBALANCED, True):
        random = np.random.default_rng([args.seed, is_mixed])
        for class_name, count in counts.items():
            for split, (images, labels), number in ("train", train, count), ("test", test, BALANCED[1] if name == "balanced" else TEST):
                of_class = images[labels == CLASSES.index(class_name)]
                chosen = of_class[random.permutation(len(of_class))[:number]]
                write(args.out / name / split / class_name, chosen, random, is_mixed)
        print(f"{args.out / name}: {sum(counts.values())} images to train on")


main()
