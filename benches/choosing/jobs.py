"""8 λ × 3 seeds on 1,000 images: `regulus sweep --jobs 2` against 24 single runs one after another, in turns.

    python3 benches/choosing/jobs.py --mnist DIR [--rounds 3] [--epochs 30]

A sweep trains the chosen network once more on all images and measures it on the test images: that is a part of its time. A single run has all cores; it measures the test
images and saves its state after each epoch, as runs do. That both have the same validation losses is checked. The other programs of the machine should be at rest.
"""

import statistics
import sys
import time

import sweeps

LAMBDAS = [0, 0.3, 1, 3, 10, 30, 100, 300]
SEEDS = 3
CONFIG = """validation = 0.2
split_seed = 0

[[penalty]]
kind = "l2"
lambda = 0

[schedule]
kind = "cosine"

[train]
epochs = {}
batch_size = 32
keep = "last"
"""


def main():
    parser = sweeps.arguments(__doc__, images=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    rows, ratios = [], []
    with sweeps.temporary(options) as work:
        name, source = next(iter(sweeps.sets_of(options).items()))
        draw = sweeps.write_draw(source, f"{work}/images", 1000, seed=0)
        config = sweeps.write_config(f"{work}/config.toml", draw, CONFIG.format(options.epochs))
        for round_ in range(options.rounds):
            ways = {"sweep": lambda: swept(options, config, f"{work}/sweep-{round_}"), "runs": lambda: trained(options, config, f"{work}/runs-{round_}")}
            order = list(ways) if round_ % 2 == 0 else list(ways)[::-1]
            seconds, losses = {}, {}
            for way in order:
                started = time.perf_counter()
                losses[way] = ways[way]()
                seconds[way] = time.perf_counter() - started
                print(f"round {round_ + 1}: {way} {seconds[way]:.1f} s", file=sys.stderr, flush=True)
            if losses["sweep"] != losses["runs"]:
                sys.exit(f"the validation losses differ: {losses}")
            ratios.append(seconds["runs"] / seconds["sweep"])
            rows.append((round_ + 1, " then ".join(order), f"{seconds['sweep']:.1f}", f"{seconds['runs']:.1f}", f"{ratios[-1]:.2f}"))
    print(f"{sweeps.TITLES[name]}, 1,000 images, {options.epochs} epochs, median of the ratios {statistics.median(ratios):.2f}\n")
    sweeps.print_table(("round", "order", f"sweep with {options.jobs} jobs, s", "24 runs, s", "ratio"), rows)


def swept(options, config, folder):
    _, lines = sweeps.sweep(options, config, folder, "--grid", f"{sweeps.LAMBDA}={sweeps.values_of(LAMBDAS)}", "--seeds", SEEDS)
    return {f"{float(line[sweeps.LAMBDA]):g}, {line['seed']}": float(line["validation_loss"]) for line in lines}


def trained(options, config, folder):
    losses = {}
    for seed in range(SEEDS):
        for value in LAMBDAS:
            summary = sweeps.train(options, config, f"{folder}/{value}-{seed}", {"seed": seed, sweeps.LAMBDA: value}, threads=0)
            losses[f"{value:g}, {seed}"] = summary["validation"]["data_loss"]
    return losses


if __name__ == "__main__":
    main()
