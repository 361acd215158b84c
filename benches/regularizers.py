"""What each regularizer gives on 1,000 training images, several seeds: test loss and accuracy, ‖w‖², exact zeros and cost.

    regulus data fetch mnist
    python3 benches/regularizers.py [SEEDS] [-- ARGUMENTS FOR regulus train]

Every run is configs/few_images_l0.toml with the settings below. The runs are kept in artifacts/regularizers, by a checksum over config, data and program; one that is there
is not trained again. The program is target/release/regulus, or $REGULUS. Cost is the time of training over that without a regularizer, medians of the seeds; seeds take
turns.
"""

import json
import re
import statistics

import runs

PROXIMAL = ["penalty.0.proximal=true"]


def penalty(kind, strength, *more):
    return [f"penalty.0.kind={kind}", f"penalty.0.lambda={strength}", *more]


def found(kind, schedule, **keys):
    """A penalty whose lambda a schedule finds or changes."""
    keys = "".join(f", {key}={json.dumps(value)}" for key, value in keys.items())
    start = ", lambda=1" if schedule == "evidence" else ""
    return [f'penalty.0={{kind="{kind}"{start}, schedule={{kind="{schedule}"{keys}}}}}']


ROWS = {
    "none": [],
    **{f"L2, λ = {strength}": penalty("l2", strength) for strength in (1, 5, 20, 60)},
    "L2, λ falling from 10 to 0": penalty("l2", 10, "penalty.0.schedule.kind=linear"),
    "L2, λ by evidence, Kronecker": found("l2", "evidence"),
    "L2, λ by evidence, diagonal": found("l2", "evidence", structure="diagonal"),
    **{f"L2, λ adaptive, ratio {ratio}": found("l2", "adaptive", ratio=ratio) for ratio in (0.03, 0.1, 0.3)},
    **{f"cpr, bound {factor}": found("decoupled", "cpr", warm_start_steps=200, bound_factor=factor) for factor in (1.0, 0.7)},
    **{f"decoupled, λ = {strength}": penalty("decoupled", strength) for strength in (300, 1000, 3000)},
    "L1 by gradient, λ = 0.2": penalty("l1", 0.2),
    **{f"L1, proximal, λ = {strength}": penalty("l1", strength, *PROXIMAL) for strength in (0.05, 0.2, 1)},
    "elastic net, proximal, λ = 0.4": penalty("elastic_net", 0.4, *PROXIMAL),
    **{f"group lasso, proximal, λ = {strength}": penalty("group_lasso", strength, *PROXIMAL) for strength in (0.02, 0.1, 0.5)},
    "dropout 0.5": ["model.dropout=0.5"],
    "label smoothing 0.1": ["train.label_smoothing=0.1"],
    "mixup 0.2": ["augment.mixup=0.2"],
    "shift 2": ["augment.shift=2"],
    "rotation 10": ["augment.rotation=10.0"],
    "shift 2, rotation 10": ["augment.shift=2", "augment.rotation=10.0"],
    "moving average 0.995": ["averaging.kind=ema", "averaging.decay=0.995"],
    "SWA from epoch 23": ["averaging.kind=swa", "averaging.from_epoch=23"],
    "SAM, ρ = 0.1": ["optimizer.sam_rho=0.1"],
    "SAM, ρ = 0.2": ["optimizer.sam_rho=0.2"],
}

words, extra = runs.arguments()
seeds = int(words[0]) if words else 5
results = {name: [] for name in ROWS}
for seed in range(seeds):
    for name, sets in ROWS.items():
        folder = f"{re.sub('[^a-z0-9.]+', '_', name.lower())}-{seed}"
        results[name].append(runs.trained("artifacts/regularizers", folder, "configs/few_images_l0.toml", [*sets, f"seed={seed}"], extra))


def mean_and_error(values, digits, scale=1.0):
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{scale * statistics.mean(values):.{digits}f} ± {scale * error:.{digits}f}"


print("| regularizer | test cross-entropy | test accuracy, % | ‖w‖² | weights 0, % | channels and units 0, % | cost in trainings |\n|---|---|---|---|---|---|---|")
base = statistics.median(one["seconds"] for one in results["none"])
for name, found in results.items():
    cells = [
        mean_and_error([run["test"]["data_loss"] for run in found], 4),
        mean_and_error([run["test"]["accuracy"] for run in found], 2, 100),
        mean_and_error([run["weight_norm_squared"] for run in found], 1),
        *(f"{100 * statistics.mean(run[key] for run in found):.1f}" for key in ("zero_weights", "zero_channels")),
        f"{statistics.median(run['seconds'] for run in found) / base:.2f}",
    ]
    print(f"| {name} | " + " | ".join(cells) + " |")
