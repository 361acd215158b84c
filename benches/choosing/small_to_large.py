"""Is the λ that 6,000 images choose good for 60,000?

    python3 benches/choosing/small_to_large.py --mnist DIR [--seeds 5]

λ multiplies the penalty λ/(2m)·‖w‖², m being the number of training images, so that the same λ is a weaker penalty with more images. For each seed the 60,000 images are put in a
random order, and λ is chosen by hold-out among 7: on the first 6,000 (a fifth validates), and on all (a sixth validates). Then networks with each λ are trained on all 60,000
and measured on the test images. The excess is the test loss at the λ that 6,000 images chose over that at the λ that all chose. The third row keeps λ/m, which is ten times
the λ that 6,000 images chose.

The reference network; 20 epochs of 6,000 images, 5 of 60,000, Adam at 0.001 with a cosine schedule, batches of 32.
"""

import statistics

import numpy as np

import sweeps

LAMBDAS = [0, 0.316, 1, 3.16, 10, 31.6, 100]
SMALL, LARGE = 6000, 60000
CONFIG = """split_seed = 0

[[penalty]]
kind = "l2"
lambda = 0

[optimizer]
kind = "adam"
learning_rate = 0.001

[schedule]
kind = "cosine"

[train]
batch_size = 32

[backend]
threads = 1
"""


def of_seed(options, source, seed):
    with sweeps.temporary(options) as work:
        sweeps.write_draw(source, f"{work}/images", LARGE, seed)
        config = sweeps.write_config(f"{work}/config.toml", f"{work}/images", CONFIG)
        grid = ["--grid", f"{sweeps.LAMBDA}={sweeps.values_of(LAMBDAS)}", "--set", f"seed={seed}"]
        small = ["--set", f"data.train_limit={SMALL}", "--set", "data.validation=0.2", "--set", f"train.epochs={options.small_epochs}"]
        large = ["--set", f"data.validation={1 / 6}", "--set", f"train.epochs={options.epochs}"]
        ways = {"small": small, "large": large}
        found = {name: sweeps.sweep(options, config, f"{work}/{name}", *grid, *words) for name, words in ways.items()}
        keys = {"seed": seed, "data.validation": 0, "train.epochs": options.epochs}
        work_of = lambda value: sweeps.train(options, config, f"{work}/{value}", {**keys, sweeps.LAMBDA: value})["test"]["data_loss"]
        result = {"test": sweeps.in_parallel(options, work_of, LAMBDAS)}
        for name, (study, lines) in found.items():
            seconds = sum(float(line["seconds"]) for line in lines)
            result[name] = {"chosen": study["chosen"], "losses": [trial["mean"] for trial in study["trials"]], "seconds": seconds}
        return result


def main():
    parser = sweeps.arguments(__doc__, images=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--small-epochs", type=int, default=20)
    options = parser.parse_args()
    for name, source in sweeps.sets_of(options).items():
        end = f"{name}-{options.small_epochs}-{options.epochs}"
        results = [sweeps.kept(options.out / f"small-{end}-{seed}.json", lambda: of_seed(options, source, seed)) for seed in range(options.seeds)]
        print(f"### {sweeps.TITLES[name]}: {len(results)} seeds\n")
        losses = {
            "6,000 images, validation": [result["small"]["losses"] for result in results],
            "60,000 images, validation": [result["large"]["losses"] for result in results],
            "60,000 images, test": [result["test"] for result in results],
        }
        sweeps.print_table(("λ", *LAMBDAS), [(title, *(f"{value:.4f}" for value in np.mean(values, axis=0))) for title, values in losses.items()])
        choices = {
            "on 6,000, used as λ": [result["small"]["chosen"] for result in results],
            "on 6,000, used as λ/m": [ten_times(result["small"]["chosen"]) for result in results],
            "on 60,000": [result["large"]["chosen"] for result in results],
        }
        rows = []
        for title, chosen in choices.items():
            over = [result["test"][index] - result["test"][result["large"]["chosen"]] for result, index in zip(results, chosen)]
            best = [result["test"][index] - min(result["test"]) for result, index in zip(results, chosen)]
            part = "small" if "6,000," in title else "large"
            seconds = statistics.median(result[part]["seconds"] for result in results)
            rows.append((title, ", ".join(f"{LAMBDAS[index]:g}" for index in chosen), sweeps.mean_and_error(over), sweeps.mean_and_error(best), f"{seconds:.0f}"))
        sweeps.print_table(("chosen", "λ used", "excess over the choice on 60,000", "excess over the best in hindsight", "seconds of the choice"), rows)


def ten_times(index):
    """The λ next to ten times this one, at most the largest."""
    return min(range(len(LAMBDAS)), key=lambda other: abs(LAMBDAS[other] - 10 * LAMBDAS[index]))


if __name__ == "__main__":
    main()
