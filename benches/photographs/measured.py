"""Trains configs and measures them on the test images; writes a table of means and standard deviations over seeds."""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

PROGRAM = os.environ.get("REGULUS", "target/release/regulus")


def run(*words, cwd=None):
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, cwd=cwd)
    if done.returncode:
        raise SystemExit(f"`regulus {' '.join(map(str, words))}` failed:\n{done.stderr.strip()}")
    return done.stdout


def trained(config, seed, folder, *sets):
    """Trains in `folder` and measures on the test split."""
    words = [word for key in [f"seed={seed}", *sets] for word in ("--set", key)]
    started = time.perf_counter()
    run("train", config, "--run-dir", folder, "--no-report", "--no-tensorboard", *words)
    seconds = time.perf_counter() - started
    measures = json.loads(run("evaluate", folder, "--split", "test", "--json"))
    return measures["accuracy"], [one["recall"] for one in measures["classes"]], seconds, measures["class_names"]


def table(rows, smallest=None):
    """`rows`: a name and its results, each the accuracy, the recalls in the order of the classes, the seconds and the class names."""
    columns = ["accuracy", "balanced accuracy"] + ([f"recall of {smallest}"] if smallest else []) + ["seconds"]
    print("| | " + " | ".join(columns) + " |\n|---|" + "---|" * len(columns))
    for name, results in rows:
        of = [[100 * accuracy for accuracy, *_ in results], [100 * statistics.mean(recalls) for _, recalls, *_ in results]]
        if smallest:
            of.append([100 * recalls[classes.index(smallest)] for _, recalls, _, classes in results])
        spread = lambda values: f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
        cells = [f"{statistics.mean(values):.1f}{spread(values)} %" for values in of]
        seconds = statistics.mean(result[2] for result in results)
        print(f"| {name} | " + " | ".join(cells) + f" | {seconds:.0f} |", flush=True)


def compare(recipes, images, smallest=None):
    """Trains each recipe, options of `init` and keys to set, on the folder `images` of each seed, and prints the table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (options, sets) in recipes.items():
            results = []
            for seed in range(args.seeds):
                config = Path(folder) / f"{len(rows)}-{seed}.toml"
                run("init", "--images", args.dir / str(seed) / images, "--output", config, *options)
                results.append(trained(config, seed, Path(folder) / f"run-{len(rows)}-{seed}", *sets))
            rows.append((name, results))
        table(rows, smallest)
