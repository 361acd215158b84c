"""From scratch, with frozen features of ImageNet and fine-tuned: 100 images of each class of CIFAR-10, 200 of each to test.

    regulus data fetch efficientnet_lite0
    python3 benches/photographs/photographs.py DIR [--seeds N]

DIR/0, DIR/1, … are folders of `make.py --seed 0`, `--seed 1`, …; a training has the seed of its images. `scratch` and `frozen` are what `regulus init` writes, with and
without `--from-scratch`; the others add the settings below. All train on 800 images and choose the best epoch by the other 200.
"""

import argparse
import tempfile
from pathlib import Path

from measured import run, table, trained

TUNED = ['model.freeze=["_conv_stem.*", "_bn0.*", "_blocks.0.*"]', "optimizer.learning_rate=0.0003", "train.epochs=10", "augment.flip=horizontal",
         'optimizer.group=[{ scope = "_fc.*", factor = 10 }]']
START = ["penalty.0.kind=l2_sp", "penalty.0.lambda=10", 'penalty.1={ kind = "l2", lambda = 1, scope = "_fc.weight" }']
RECIPES = {
    "from scratch": (["--from-scratch"], []),
    "frozen": ([], []),
    "fine-tuned, `l2`": ([], [*TUNED, "penalty.0.lambda=1"]),
    "fine-tuned, `l2_sp`": ([], [*TUNED, *START]),
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
                run("init", "--images", args.dir / str(seed) / "balanced", "--output", config, *options)
                results.append(trained(config, seed, Path(folder) / f"run-{len(rows)}-{seed}", *sets))
            rows.append((name, results))
        table(rows)


main()
