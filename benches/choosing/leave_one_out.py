"""Is the leave-one-out loss of `--criterion loo` that of a network that is trained without the image?

    python3 benches/choosing/leave_one_out.py --mnist DIR [--images 200] [--left-out 200] [--start initial trained]

For each of 8 λ a CNN with 9,658 parameters is trained on 200 images of 14×14 pixels by a sweep with `--criterion loo`, which keeps the approximate loss of each image. Then it is
trained without one image, which is its test split, for each of the images:

- initial: in the same way from the initial weights of the same seed. What a network without the image gives, with the chance of another order of batches;
- trained: from the trained weights, in full batches, so that only the missing image makes a difference. With a small λ little makes it forget the image: then this is no
  network trained without it.

Spearman's correlation is that of the losses of the images. Images with an eigenvalue of V·Λ above 0.9 are unreliable.
"""

import json
import shutil
from pathlib import Path

import numpy as np

import sweeps

LAMBDAS = [0.03, 0.1, 0.3, 1, 3, 10, 30, 100]
# Images whose results are kept together.
BLOCK = 50
CONFIG = """split_seed = 0
validation = 0

[model]
channels = [8, 16]
hidden = 112

[[penalty]]
kind = "l2"
lambda = 1

[optimizer]
kind = "adam"
learning_rate = 0.003

[schedule]
kind = "cosine"

[train]
epochs = 60
batch_size = 20
keep = "last"

[backend]
threads = 1
"""
AGAIN = {"optimizer.learning_rate": 0.001, "train.batch_size": "full", "train.epochs": 60}
STARTS = ["initial", "trained"]


def write(folder, images, labels, chosen, left_out):
    sweeps.write_images(folder, "train", images[chosen], labels[chosen])
    sweeps.write_images(folder, "test", images[left_out], labels[left_out])


def draw(options, source):
    images, labels = sweeps.read_images(source, "train")
    chosen = np.random.default_rng(0).permutation(len(images))[: options.images]
    return sweeps.halved(images[chosen]), labels[chosen]


def swept(options, source, value, work):
    """A sweep of one λ on all images. It ends with an error if the loss is unreliable, and has no last training then."""
    images, labels = draw(options, source)
    everyone = np.arange(options.images)
    write(work / "all", images, labels, everyone, everyone)
    config = sweeps.write_config(work / "config.toml", work / "all", CONFIG)
    words = ["--sweep-dir", work / "sweep", "--grid", f"{sweeps.LAMBDA}={value:g}", *sweeps.sets({sweeps.LAMBDA: value, "seed": 0})]
    sweeps.call(options, "sweep", config, "--criterion", "loo", *words, check=False)
    (fit,) = (json.loads(path.read_text()) for path in work.glob("sweep/fits/*.json"))
    return fit


def approximate(options, source, value):
    """The approximate losses of all images."""
    with sweeps.temporary(options) as work:
        fit = swept(options, source, value, Path(work))
        criteria = fit["criteria"]
        losses = {"approximate": criteria["leave_one_out"], "unreliable": criteria["unreliable"], "gamma": criteria["gamma"]}
        return {**losses, "train": fit["train_loss"]}


def retrained(options, source, value, start, begin):
    """The true losses of a block of images."""
    images, labels = draw(options, source)
    everyone = np.arange(options.images)
    keys = {sweeps.LAMBDA: value, "seed": 0}
    with sweeps.temporary(options) as work:
        work = Path(work)
        if start == "trained":
            write(work / "all", images, labels, everyone, everyone)
            sweeps.train(options, sweeps.write_config(work / "config.toml", work / "all", CONFIG), work / "run", keys)
            keys.update({**AGAIN, "model.init": work / "run"})

        def without(index):
            folder = work / f"{index}"
            write(folder / "images", images, labels, np.delete(everyone, index), [index])
            own = sweeps.write_config(folder / "config.toml", folder / "images", CONFIG)
            loss = sweeps.train(options, own, folder / "run", keys)["test"]["data_loss"]
            shutil.rmtree(folder)
            return loss

        return {"true": sweeps.in_parallel(options, without, range(begin, min(begin + BLOCK, options.images)))}


def spearman(one, other):
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return np.corrcoef(*ranks)[0, 1]


def measured(options, name, source, start):
    """The result for each λ, of all blocks."""
    end = f"{name}-{options.images}"
    results = {}
    for value in LAMBDAS:
        path = options.out / f"leave-one-out-approximate-{end}-{value:g}.json"
        results[value] = {**sweeps.kept(path, lambda value=value: approximate(options, source, value)), "true": []}
    # All λ of a block before the next block, so that there is a curve early.
    for begin in range(0, options.left_out, BLOCK):
        for value in LAMBDAS:
            path = options.out / f"leave-one-out-{start}-{end}-{begin}-{value:g}.json"
            results[value]["true"] += sweeps.kept(path, lambda value=value, begin=begin: retrained(options, source, value, start, begin))["true"]
    return results


def main():
    parser = sweeps.arguments(__doc__, images=True)
    parser.add_argument("--images", type=int, default=200)
    parser.add_argument("--left-out", type=int, default=200, help=f"how many of the images are left out, a multiple of {BLOCK}")
    parser.add_argument("--start", choices=STARTS, nargs="+", default=STARTS, help="the weights from which a network is trained without an image")
    options = parser.parse_args()
    for name, source in sweeps.sets_of(options).items():
        for start in options.start:
            results = measured(options, name, source, start)
            print(f"### {sweeps.TITLES[name]}, {options.images} images, {options.left_out} left out, from {start} weights\n")
            rows, curves = [], {"retrained": [], "approximate": []}
            for value, found in results.items():
                true = np.array(found["true"])
                approximate = np.array(found["approximate"])[: len(true)]
                curves["retrained"].append(true.mean())
                curves["approximate"].append(approximate.mean())
                means = [f"{losses.mean():.3f} ± {losses.std() / np.sqrt(len(losses)):.3f}" for losses in (true, approximate)]
                difference = sweeps.mean_and_error(approximate - true, 3)
                cells = [f"{np.median(true):.4f}", f"{np.median(approximate):.4f}", f"{spearman(true, approximate):.2f}"]
                rows.append((f"{value:g}", f"{found['train']:.3f}", *means, difference, *cells, f"{100 * found['unreliable']:.1f} %", f"{found['gamma']:.0f}"))
            medians = ("median retrained", "median approximate")
            sweeps.print_table(("λ", "training loss", "retrained", "approximate", "difference", *medians, "Spearman", "unreliable", "γ"), rows)
            best = {kind: LAMBDAS[int(np.argmin(curve))] for kind, curve in curves.items()}
            print(f"lowest: retrained at λ = {best['retrained']:g}, approximate at λ = {best['approximate']:g}\n")


if __name__ == "__main__":
    main()
