"""Trains configs with several seeds and prints mean and standard error of what they give on the test set.

    python3 benches/seeds.py SEEDS CONFIG [CONFIG ...] [-- ARGUMENTS FOR regulus train]

The runs are kept in artifacts/seeds; one that is there is not trained again. The program is target/release/regulus, or $REGULUS.
"""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

arguments = sys.argv[1:]
extra = []
if "--" in arguments:
    place = arguments.index("--")
    arguments, extra = arguments[:place], arguments[place + 1 :]
seeds, configs = int(arguments[0]), arguments[1:]
program = os.environ.get("REGULUS", "target/release/regulus")


def told(values, scale=1.0, digits=4):
    mean, error = statistics.mean(values), statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{scale * mean:.{digits}f} ± {scale * error:.{digits}f}"


print("| config | seeds | test cross-entropy | test accuracy, % | ‖w‖² | minutes a run | images/s |\n|---|---|---|---|---|---|---|")
for config in configs:
    summaries = []
    for seed in range(seeds):
        run = Path("artifacts/seeds") / f"{Path(config).stem}-{seed}"
        if not (run / "summary.json").exists():
            subprocess.run([program, "train", config, "--set", f"seed={seed}", "--run-dir", str(run), *extra], check=True, stdout=sys.stderr)
        summaries.append(json.loads((run / "summary.json").read_text()))
    test = [summary["test"] for summary in summaries]
    columns = [
        config,
        str(seeds),
        told([part["data_loss"] for part in test]),
        told([part["accuracy"] for part in test], 100, 2),
        told([summary["weight_norm_squared"] for summary in summaries], 1, 1),
        f"{statistics.median(summary['seconds'] for summary in summaries) / 60:.1f}",
        f"{statistics.median(summary['images_per_second'] for summary in summaries):.0f}",
    ]
    print("| " + " | ".join(columns) + " |", flush=True)
