"""From scratch, with frozen features of ImageNet and fine-tuned: 100 images of each class of CIFAR-10, 200 of each to test.

    regulus data fetch efficientnet_lite0
    python3 benches/photographs/photographs.py DIR [--seeds N]

DIR/0, DIR/1, … are folders of `make.py --seed 0`, `--seed 1`, …; a training has the seed of its images. `scratch` and `frozen` are what `regulus init` writes, with and
without `--from-scratch`; the others add the settings below. All train on the 1,000 images, as the peers do, and are measured after the last epoch.
"""

from measured import compare

ALL = ["data.validation=0"]
TUNED = [*ALL, 'model.freeze=["_conv_stem.*", "*_bn*"]', "optimizer.learning_rate=0.0001", "train.epochs=8", "augment.flip=horizontal",
         'optimizer.group=[{ scope = "_fc.*", factor = 30 }]']
START = ["penalty.0.kind=l2_sp", "penalty.0.lambda=10", 'penalty.1={ kind = "l2", lambda = 1, scope = "_fc.weight" }']
RECIPES = {
    "from scratch": (["--from-scratch"], ALL),
    "frozen": ([], ALL),
    "fine-tuned, `l2`": ([], [*TUNED, "penalty.0.lambda=1"]),
    "fine-tuned, `l2_sp`": ([], [*TUNED, *START]),
}

compare(RECIPES, "balanced")
