"""Five classes with 300, 140, 90, 50 and 25 photographs of mixed sizes: the config that `regulus init` writes, untouched, and without what it does about the imbalance.

    regulus data fetch efficientnet_lite0
    python3 benches/photographs/imbalanced.py DIR [--seeds N]

DIR/0, DIR/1, … are folders of `make.py --seed 0`, `--seed 1`, …; a training has the seed of its images.
"""

from measured import compare

PLAIN = ["train.class_weights=none", "train.best_by=data_loss"]
RECIPES = {
    "`regulus init`": ([], []),
    "without class weights, best by data loss": ([], PLAIN),
    "balanced sampling instead of weights": ([], ["train.class_weights=none", "train.sampling=balanced"]),
    "from scratch": (["--from-scratch"], []),
    "from scratch, without class weights, best by data loss": (["--from-scratch"], PLAIN),
}

compare(RECIPES, "imbalanced", "cat")
