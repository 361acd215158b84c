"""Do the intervals difference ± t·SE over folds cover the true difference between two λ, and how often do they claim what is not so?

    python3 benches/choosing/intervals.py [--studies 500] [--folds 5] [--repeats 1] [--images 200]

Softmax regression on images of 8×8 pixels from a known distribution: 4 classes, each with its own mean picture, and Gaussian noise; without signal all classes have the
same mean. A study is `regulus sweep` over 7 λ with k folds on n fresh images. Its estimate for two λ is the mean over the folds of the difference of their validation
losses. What it estimates is the difference of the expected losses on fresh images of networks trained with these λ on n·(1 − 1/k) images, averaged over training sets and
seeds. The truth is the mean of that difference over as many independent training sets (the training part of the first fold of n fresh images), measured on 20,000 images.

The interval is difference ± t·s·√(1/J + r), s the standard deviation over all J folds of all repeats, t the 97.5 % quantile of Student's distribution with k − 1 degrees of freedom:
repeats use the same images again, and with J − 1 the intervals are too short. r is 1/(k − 1) as in the program, or 0, the naive one. "The right r" is the one with which the variance is
right on average; what is then missing to 95 % comes from the form of the distribution.
"""

import itertools
import math
import sys

import numpy as np

import sweeps

LAMBDAS = [0, 0.3, 1, 3, 10, 30, 300]
CLASSES, SIDE = 4, 8
# 97.5 % quantiles of Student's distribution.
QUANTILES = {1: 12.706205, 2: 4.302653, 4: 2.776445, 9: 2.262157, 19: 2.093024}
CONFIG = """validation = 0.2
normalization = "standard"

[model]
kind = "linear"

[[penalty]]
kind = "l2"
lambda = 0

[optimizer]
kind = "adam"
learning_rate = 0.03

[schedule]
kind = "cosine"

[train]
epochs = 50
batch_size = 32
"""
TRUTH_IMAGES = 20000


def draw(random, count, signal):
    """Images and labels of the distribution. The mean pictures are the same in all draws."""
    means = np.random.default_rng(1).normal(size=(CLASSES, SIDE, SIDE))
    labels = random.integers(CLASSES, size=count).astype(np.uint8)
    pixels = 128 + 40 * random.normal(size=(count, SIDE, SIDE)) + signal * means[labels]
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8), labels


def write(folder, split, random, count, signal):
    images, labels = draw(random, count, signal)
    while len(set(labels.tolist())) < CLASSES:
        images, labels = draw(random, count, signal)
    sweeps.write_images(folder, split, images, labels)


def study(options, number, signal):
    """Losses of a study, λ × folds, and the standard errors that the program gives."""
    with sweeps.temporary(options) as work:
        write(f"{work}/images", "train", np.random.default_rng([1, number]), options.images, signal)
        # The program looks at the test images once.
        write(f"{work}/images", "test", np.random.default_rng([3, number]), 50, signal)
        config = sweeps.write_config(f"{work}/config.toml", f"{work}/images", CONFIG)
        repeats = ["--repeats", options.repeats] if options.repeats > 1 else []
        words = ["--folds", options.folds, *repeats, "--grid", f"{sweeps.LAMBDA}={sweeps.values_of(LAMBDAS)}", "--set", f"seed={number}"]
        found, lines = sweeps.sweep(options, config, f"{work}/sweep", *words, "--set", "backend.threads=1", jobs=1)
        losses = sweeps.fold_losses(found, lines)
        minimum = int(found["minimum"])
        for trial, values in zip(found["trials"], losses):
            # The program's error is the one that is studied here.
            own = corrected(values - losses[minimum], options.folds)
            if abs(own - trial["standard_error"]) > 1e-9:
                sys.exit(f"the program says ± {trial['standard_error']}, by hand it is {own}")
        return {"losses": losses.tolist(), "minimum": minimum}


def truth(options, number, signal, test):
    """Losses on fresh images of networks that were trained on as many images as in a study."""
    with sweeps.temporary(options) as work:
        write(f"{work}/images", "train", np.random.default_rng([2, number]), options.images, signal)
        for name in sweeps.NAMES["test"]:
            (sweeps.Path(work) / "images" / name).symlink_to(test / name)
        config = sweeps.write_config(f"{work}/config.toml", f"{work}/images", CONFIG)
        keys = {"seed": 1_000_000 + number, "data.validation": f"fold 1/{options.folds}", "train.keep": "last"}
        return [sweeps.train(options, config, f"{work}/{value}", {**keys, sweeps.LAMBDA: value})["test"]["data_loss"] for value in LAMBDAS]


def corrected(differences, folds, ratio=None):
    ratio = 1 / (folds - 1) if ratio is None else ratio
    return float(np.std(differences, ddof=1) * math.sqrt(1 / len(differences) + ratio))


def results(options, signal):
    name = f"{'signal' if signal else 'none'}-{options.images}-{options.folds}-{options.studies}"
    repeated = f"{name}-{options.repeats}" if options.repeats > 1 else name
    with sweeps.temporary(options) as work:
        test = sweeps.Path(work)
        write(test, "test", np.random.default_rng(4), TRUTH_IMAGES, signal)
        numbers = range(options.studies)
        true = sweeps.kept(options.out / f"intervals-truth-{name}.json", lambda: sweeps.in_parallel(options, lambda number: truth(options, number, signal, test), numbers))
        studies = sweeps.kept(options.out / f"intervals-{repeated}.json", lambda: sweeps.in_parallel(options, lambda number: study(options, number, signal), numbers))
    return np.array(true), np.array([one["losses"] for one in studies]), [one["minimum"] for one in studies]


def covers(differences, target, quantile, ratio):
    """How often the intervals of all studies (rows; columns are folds) contain the target."""
    errors = np.std(differences, axis=1, ddof=1) * math.sqrt(1 / differences.shape[1] + ratio)
    return float(np.mean(np.abs(differences.mean(axis=1) - target) <= quantile * errors))


def share(value, digits=1):
    return f"{100 * value:.{digits}f} %"


def report(options, title, signal):
    true, losses, minima = results(options, signal)
    count, splits = len(losses), losses.shape[2]
    quantile, ratio = QUANTILES[options.folds - 1], 1 / (options.folds - 1)
    print(f"### {title}: {count} studies of {options.images} images, {options.folds} folds × {options.repeats}\n")
    rows = []
    for index, value in enumerate(LAMBDAS):
        means = losses[:, index].mean(axis=1)
        rows.append((value, sweeps.mean_and_error(true[:, index]), sweeps.mean_and_error(means), minima.count(index)))
    sweeps.print_table(("λ", "true loss", "mean loss of the studies", "times the minimum"), rows)
    rows, all_corrected, all_naive = [], [], []
    for one, other in itertools.combinations(range(len(LAMBDAS)), 2):
        differences, target = losses[:, one] - losses[:, other], true[:, one] - true[:, other]
        spread, within = differences.mean(axis=1).std(ddof=1), np.sqrt(np.mean(np.var(differences, axis=1, ddof=1)))
        # The r with which the error would be right on average: Var(mean over folds) = s²·(1/k + r).
        right = spread**2 / within**2 - 1 / splits
        all_corrected.append(covers(differences, target.mean(), quantile, ratio))
        all_naive.append(covers(differences, target.mean(), quantile, 0.0))
        claims = np.abs(differences.mean(axis=1)) > quantile * np.std(differences, axis=1, ddof=1) * math.sqrt(1 / splits + ratio)
        wrong = claims & (np.sign(differences.mean(axis=1)) != np.sign(target.mean()))
        cells = [f"{LAMBDAS[one]} − {LAMBDAS[other]}", sweeps.mean_and_error(target), sweeps.mean_and_error(differences.mean(axis=1)), f"{spread:.4f}"]
        cells += [share(all_corrected[-1]), share(all_naive[-1]), share(covers(differences, target.mean(), quantile, right)), f"{right:.2f}", share(claims.mean()), share(wrong.mean())]
        rows.append(cells)
    rows.append(["all pairs", "", "", "", share(np.mean(all_corrected)), share(np.mean(all_naive)), "", "", "", ""])
    titles = ("λ", "true difference", "mean of the studies", "its deviation", "corrected covers", "naive covers", "the right r covers", "right r", "claims a difference", "of the wrong sign")
    sweeps.print_table(titles, rows)
    report_minimum(options, true, losses, minima, quantile, ratio)


def report_minimum(options, true, losses, minima, quantile, ratio):
    """Intervals as the program shows them: against the λ of the lowest loss, which the same folds have chosen."""
    folds, rows = options.folds, []
    any_claim, false_claim, largest = 0, 0, len(LAMBDAS) - 1
    inside = {"corrected": [0] * len(LAMBDAS), "naive": [0] * len(LAMBDAS)}
    shown = [0] * len(LAMBDAS)
    mean = true.mean(axis=0)
    for values, minimum in zip(losses, minima):
        claims = set()
        for index in range(len(LAMBDAS)):
            if index == minimum:
                continue
            differences, target = values[index] - values[minimum], mean[index] - mean[minimum]
            shown[index] += 1
            for name, r in (("corrected", ratio), ("naive", 0.0)):
                inside[name][index] += abs(differences.mean() - target) <= quantile * corrected(differences, folds, r)
            if differences.mean() > quantile * corrected(differences, folds):
                claims.add(index)
        any_claim += bool(claims)
        # The largest λ is claimed to be worse than the minimum, which it is not.
        false_claim += largest in claims and mean[largest] <= mean[minimum]
    for index, value in enumerate(LAMBDAS):
        if shown[index]:
            rows.append((value, shown[index], *(share(inside[name][index] / shown[index]) for name in inside)))
    rows.append(("all", sum(shown), *(share(sum(inside[name]) / sum(shown)) for name in inside)))
    sweeps.print_table(("λ, against the minimum", "studies", "corrected covers", "naive covers"), rows)
    count = len(losses)
    print(f"Any λ is claimed to be worse than the minimum: {share(any_claim / count)}. The largest λ is, though it is not: {share(false_claim / count)}.\n")


def main():
    parser = sweeps.arguments(__doc__)
    parser.add_argument("--studies", type=int, default=500)
    parser.add_argument("--folds", type=int, default=5, choices=[degrees + 1 for degrees in QUANTILES])
    parser.add_argument("--repeats", type=int, default=1)
    parser.add_argument("--images", type=int, default=200)
    options = parser.parse_args()
    report(options, "With signal", 15.0)
    report(options, "Without signal", 0.0)


if __name__ == "__main__":
    main()
