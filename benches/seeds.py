"""Trains configs with several seeds and prints mean and standard error of what they give on the test set.

    python3 benches/seeds.py SEEDS CONFIG [CONFIG ...] [-- ARGUMENTS FOR regulus train]

The runs are kept in artifacts/seeds, by a checksum over config, data and program; one that is there is not trained again. The program is target/release/regulus, or
$REGULUS.
"""

import statistics
from pathlib import Path

import runs

words, extra = runs.arguments()
seeds, configs = int(words[0]), words[1:]


def mean_and_error(values, scale=1.0, digits=4):
    mean, error = statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{scale * mean:.{digits}f} ± {scale * error:.{digits}f}"


print("| config | seeds | test cross-entropy | test accuracy, % | ‖w‖² | minutes a run | images/s |\n|---|---|---|---|---|---|---|")
for config in configs:
    summaries = [runs.trained("artifacts/seeds", f"{Path(config).stem}-{seed}", config, [f"seed={seed}"], extra) for seed in range(seeds)]
    test = [summary["test"] for summary in summaries]
    columns = [
        config,
        str(seeds),
        mean_and_error([measures["data_loss"] for measures in test]),
        mean_and_error([measures["accuracy"] for measures in test], 100, 2),
        mean_and_error([summary["weight_norm_squared"] for summary in summaries], 1, 1),
        f"{statistics.median(summary['seconds'] for summary in summaries) / 60:.1f}",
        f"{statistics.median(summary['images_per_second'] for summary in summaries):.0f}",
    ]
    print("| " + " | ".join(columns) + " |", flush=True)
