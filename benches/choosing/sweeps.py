"""What the scripts of this folder share: data as IDX files, sweeps and trainings by the program, and tables."""

import argparse
import csv
import gzip
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

NAMES = {"train": ("train-images-idx3-ubyte", "train-labels-idx1-ubyte"), "test": ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")}
TITLES = {"mnist": "MNIST", "fashion_mnist": "Fashion-MNIST"}
LAMBDA = "penalty.0.lambda"


def arguments(description, *, images=False, jobs=2):
    """A parser with the options of all scripts."""
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("--regulus", default="target/release/regulus", help="the program")
    parser.add_argument("--jobs", type=int, default=jobs, help="trainings at once")
    parser.add_argument("--work", type=Path, help="a folder for temporary files, such as in memory")
    parser.add_argument("--out", type=Path, default=Path("artifacts/choosing"), help="the folder of the results; what is there is not done again")
    if images:
        parser.add_argument("--mnist", type=Path, help="the folder of MNIST's IDX files")
        parser.add_argument("--fashion-mnist", type=Path, help="the folder of Fashion-MNIST's IDX files")
    return parser


def sets_of(options):
    """The name and the folder of each set of images that is given."""
    given = {name: getattr(options, name) for name in TITLES if getattr(options, name)}
    if not given:
        sys.exit("name a folder of images: --mnist DIR or --fashion-mnist DIR")
    return given


def temporary(options):
    return tempfile.TemporaryDirectory(dir=options.work, prefix="choosing-")


# --- images ---


def read_idx(path):
    """An array from an IDX file, plain or compressed."""
    path = Path(path)
    content = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    axes = content[3]
    sizes = [int.from_bytes(content[4 + 4 * axis : 8 + 4 * axis], "big") for axis in range(axes)]
    return np.frombuffer(content, np.uint8, offset=4 + 4 * axes).reshape(sizes)


def write_idx(path, values):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    header = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    path.write_bytes(header + np.ascontiguousarray(values, np.uint8).tobytes())


def read_images(folder, split):
    """Images and labels of a split."""
    return tuple(read_idx(Path(folder) / name) for name in NAMES[split])


def write_images(folder, split, images, labels):
    for name, values in zip(NAMES[split], (images, labels)):
        write_idx(Path(folder) / name, values)


def halved(images):
    """Means over 2×2 pixels."""
    count, height, width = images.shape
    return np.rint(images.reshape(count, height // 2, 2, width // 2, 2).mean(axis=(2, 4))).astype(np.uint8)


def write_draw(source, target, count, seed):
    """A folder with `count` random images of the training split in `source`, and its whole test split."""
    images, labels = read_images(source, "train")
    chosen = np.random.default_rng(seed).permutation(len(images))[:count]
    write_images(target, "train", images[chosen], labels[chosen])
    write_images(target, "test", *read_images(source, "test"))
    return target


# --- the program ---


def call(options, *words, check=True):
    """Runs the program and returns what it writes to standard output."""
    command = [str(word) for word in (options.regulus, *words)]
    done = subprocess.run(command, capture_output=True, text=True)
    if check and done.returncode:
        sys.exit(f"`{' '.join(command)}` ended with {done.returncode}:\n{done.stderr.strip()}")
    return done.stdout


def sets(keys):
    return [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]


def write_config(path, folder, text):
    """A config with the images in `folder`."""
    Path(path).write_text(f'name = "choosing"\nseed = 0\n\n[data]\nsource = "idx"\ndir = "{folder}"\n\n{text}')
    return path


def values_of(values):
    """A list of values for `--grid`."""
    return ",".join(f"{value:g}" for value in values)


def sweep(options, config, folder, *words, jobs=None):
    """`study.json` and the lines of `trials.csv` of a sweep."""
    call(options, "sweep", config, "--sweep-dir", folder, "--jobs", jobs or options.jobs, *words)
    return read_sweep(folder)


def read_sweep(folder):
    folder = Path(folder)
    study = json.loads((folder / "study.json").read_text())
    with (folder / "trials.csv").open() as file:
        return study, list(csv.DictReader(file))


def train(options, config, folder, keys, threads=1):
    """The summary of a run."""
    call(options, "train", config, "--run-dir", folder, *sets({"backend.threads": threads, **keys}))
    return json.loads((Path(folder) / "summary.json").read_text())


def in_parallel(options, work, items):
    """The results of `work` for each item, as many at once as `--jobs` says. Each should use one thread."""
    with ThreadPoolExecutor(options.jobs) as pool:
        return list(pool.map(work, items))


def supports(options, words):
    """Whether the text of `regulus sweep --help` has these words."""
    return words in call(options, "sweep", "--help")


def fold_losses(study, lines):
    """The validation losses as an array: trials × folds, of all repeats, means over the seeds."""
    split = lambda line: (int(line.get("repeat") or 1), int(line["fold"]))
    splits = sorted({split(line) for line in lines})
    found = {}
    for line in lines:
        found.setdefault((int(line["trial"]), split(line)), []).append(float(line["validation_loss"] or "nan"))
    return np.array([[statistics.mean(found[trial["trial"], one]) for one in splits] for trial in study["trials"]])


def curves(folder):
    """The validation losses after each epoch of all trainings of a sweep, by trial and fold; none if the program does not record them."""
    found = {}
    for path in sorted(Path(folder).glob("fits/*.json")):
        result = json.loads(path.read_text())
        found[f"{result['trial']}, {result['fold']}"] = result.get("curve", [])
    return found


# --- results ---


def kept(path, make):
    """The JSON in `path`, which `make` gives if there is no such file."""
    if path.exists():
        return json.loads(path.read_text())
    started = time.monotonic()
    value = make()
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value, indent=1) + "\n")
    os.replace(part, path)
    print(f"{path.name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    return value


def mean_and_error(values, digits=4, scale=1.0):
    values = [scale * value for value in values]
    error = statistics.stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return f"{statistics.mean(values):.{digits}f} ± {error:.{digits}f}"


def print_table(titles, rows):
    print("| " + " | ".join(map(str, titles)) + " |\n|" + "---|" * len(titles))
    for row in rows:
        print("| " + " | ".join(map(str, row)) + " |", flush=True)
    print()
