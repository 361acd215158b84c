"""Five classes with 300, 140, 90, 50 and 25 photographs of mixed sizes: the config that `regulus init` writes, untouched, and without what it does about the imbalance.

    regulus data fetch efficientnet_lite0
    python3 benches/photographs/imbalanced.py DIR [--seeds N]

DIR/0, DIR/1, … are folders of `make.py --seed 0`, `--seed 1`, …; a training has the seed of its images.
"""

import argparse
import tempfile
from pathlib import Path

from measured import run, table, trained

PLAIN = ["train.class_weights=none", "train.best_by=data_loss"]
RECIPES = {
    "`regulus init`": ([], []),
    "without class weights, best by data loss": ([], PLAIN),
    "balanced sampling instead of weights": ([], ["train.class_weights=none", "train.sampling=balanced"]),
    "from scratch": (["--from-scratch"], []),
    "from scratch, without class weights, best by data loss": (["--from-scratch"], PLAIN),
}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("dir", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    args = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (options, sets) in RECIPES.items():
            results = []
            for seed in range(args.seeds):
                config = Path(folder) / f"{len(rows)}-{seed}.toml"
                run("init", "--images", args.dir / str(seed) / "imbalanced", "--output", config, *options)
                results.append(trained(config, seed, Path(folder) / f"run-{len(rows)}-{seed}", *sets))
            rows.append((name, results))
        table(rows, "cat")


main()
