"""The table and the plot of docs/performance.md: how the training step scales.

    pip install matplotlib
    python3 benches/scaling.py docs/scaling.svg > table.md

Runs `cargo bench --bench scaling` for one thread and for two.
"""

import json
import os
import subprocess
import sys

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

rows = []
for threads in (1, 2):
    environment = {**os.environ, "REGULUS_BENCH_THREADS": str(threads)}
    command = ["cargo", "bench", "--bench", "scaling"]
    lines = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    rows += [json.loads(line) for line in lines if line.startswith("{")]

settings = list(dict.fromkeys((row["batch"], row["side"], row["channels"]) for row in rows))
by_setting = {(row["threads"], row["batch"], row["side"], row["channels"]): row for row in rows}
gemm = {row["threads"]: row["gemm_gflops"] for row in rows}
print("| batch | images | channels | images/s, 1 thread | 2 threads | ratio | GFLOP/s, 1 thread | 2 threads |")
print("|---|---|---|---|---|---|---|---|")
for batch, side, channels in settings:
    one, two = (by_setting[threads, batch, side, channels] for threads in (1, 2))
    ratio = two["images_per_second"] / one["images_per_second"]
    print(
        f"| {batch} | {side}×{side} | {32 * channels}, {64 * channels} | {one['images_per_second']:,} | {two['images_per_second']:,} "
        f"| {ratio:.2f} | {one['gflops']:.0f} | {two['gflops']:.0f} |"
    )
print(f"\nMatrix products of 1024×1024 in the same run: {gemm[1]:.0f} GFLOP/s on one thread, {gemm[2]:.0f} on two.")

figure, (batches, sizes) = pyplot.subplots(1, 2, figsize=(10, 4))
for threads, colour in ((1, "tab:blue"), (2, "tab:orange")):
    sweep = [row for row in rows if row["threads"] == threads and row["side"] == 28 and row["channels"] == 1]
    batches.plot([row["batch"] for row in sweep], [row["images_per_second"] for row in sweep], "o-", color=colour, label=f"{threads} thread{'s' * (threads > 1)}")
    names = [f"{side}²" if channels == 1 else f"28² ×{channels}" for batch, side, channels in settings if batch == 32]
    speeds = [by_setting[threads, *setting]["gflops"] for setting in settings if setting[0] == 32]
    sizes.plot(names, speeds, "o-", color=colour, label=f"{threads} thread{'s' * (threads > 1)}")
    sizes.axhline(gemm[threads], color=colour, linestyle=":", label="matrix products")
batches.set(xscale="log", xlabel="batch", ylabel="training images/s, 28×28", xticks=[1, 4, 16, 64, 256, 1024], ylim=(0, None))
batches.set_xticks([1, 4, 16, 64, 256, 1024], ["1", "4", "16", "64", "256", "1024"])
sizes.set(xlabel="images, and times the channels", ylabel="GFLOP/s, batch 32", ylim=(0, None))
for axes in (batches, sizes):
    axes.legend()
    axes.grid(alpha=0.3)
figure.tight_layout()
figure.savefig(sys.argv[1], metadata={"Date": None})
