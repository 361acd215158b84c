"""Which rule finds a good λ on 1,000 images, and at what cost?

    python3 benches/choosing/rules.py --mnist DIR --fashion-mnist DIR [--draws 10]

For each draw of 1,000 images the reference network is trained with 13 values of λ on all of them and measured on the whole test split: that is what a rule could have had. Each
rule chooses one of the 13 without the test images:

- hold-out: the lowest validation loss of the first of five folds (800 images to train, 200 to validate);
- 5-fold, minimum, and 5-fold, one standard error: the rules of `regulus sweep --folds 5`;
- leave-one-out and evidence: `--criterion loo` and `evidence` of the sweep; they train on all images, and need no validation split;
- evidence in training: one training with the schedule `evidence`, which finds λ itself, and is measured as it is.

The excess is the test loss of the network trained on all 1,000 images with the chosen λ, over the lowest of the 13. It contains the noise of one training, for all rules alike.
Cost: images trained, over those of one training on all 1,000; the last training with the chosen λ is counted. The same in seconds has the time of the criterion, too, but other
programs on the machine disturb it: trainings of folds and of all images are timed one after the other.
"""

import statistics

import numpy as np

import sweeps

LAMBDAS = [0, 0.1, 0.2, 0.4, 0.8, 1.6, 3, 6, 12, 25, 50, 100, 200]
RULES = ["hold-out", "5-fold, minimum", "5-fold, one standard error", "leave-one-out", "evidence", "evidence in training"]
IMAGES, FOLDS = 1000, 5
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
epochs = {epochs}
batch_size = 32

[backend]
threads = 1
"""
GRID = f"{sweeps.LAMBDA}={sweeps.values_of(LAMBDAS)}"


def open_draw(options, work, source, draw):
    sweeps.write_draw(source, f"{work}/images", IMAGES, seed=draw)
    return sweeps.write_config(f"{work}/config.toml", f"{work}/images", CONFIG.format(epochs=options.epochs))


def cross_validated(options, source, draw):
    """Losses of all λ on five folds, after each epoch if the program records them, and what the program chose."""
    with sweeps.temporary(options) as work:
        config = open_draw(options, work, source, draw)
        study, lines = sweeps.sweep(options, config, f"{work}/sweep", "--folds", FOLDS, "--grid", GRID, "--set", f"seed={draw}")
        losses = sweeps.fold_losses(study, lines)
        within = [trial for trial in study["trials"] if trial["difference"] <= trial["standard_error"]]
        return {
            "losses": losses.tolist(),
            "curves": sweeps.curves(f"{work}/sweep"),
            "seconds": sum(float(line["seconds"]) for line in lines),
            "seconds_first_fold": sum(float(line["seconds"]) for line in lines if line["fold"] == "1"),
            "minimum": study["minimum"],
            # The grid is in order of λ.
            "one_standard_error": max(trial["trial"] for trial in within),
            "refit_test": study["refit"]["test"]["data_loss"],
        }


def tested(options, source, draw):
    """Test losses of all λ, trained on all images, and of a training in which λ is found by evidence."""
    with sweeps.temporary(options) as work:
        config = open_draw(options, work, source, draw)
        keys = {"seed": draw, "data.validation": 0}
        evidence = 'penalty.0={kind="l2", lambda=1, schedule={kind="evidence", structure="kronecker"}}'.split("=", 1)
        items = [{sweeps.LAMBDA: value} for value in LAMBDAS] + [dict([evidence])]
        numbered = list(enumerate(items))
        summaries = sweeps.in_parallel(options, lambda item: sweeps.train(options, config, f"{work}/{item[0]}", {**keys, **item[1]}), numbered)
        losses = [summary["test"]["data_loss"] for summary in summaries]
        seconds = [summary["seconds"] for summary in summaries]
        return {"test": losses[:-1], "seconds": seconds[:-1], "evidence_test": losses[-1], "evidence_seconds": seconds[-1]}


def without_validation(options, source, draw):
    """What leave-one-out and evidence choose, from one sweep: each training gives both."""
    with sweeps.temporary(options) as work:
        config = open_draw(options, work, source, draw)
        study, lines = sweeps.sweep(options, config, f"{work}/sweep", "--criterion", "loo", "--grid", GRID, "--set", f"seed={draw}")
        by_trial = {int(line["trial"]): line for line in lines}
        evidence = [float(by_trial[index]["log_evidence"] or "-inf") for index in range(len(LAMBDAS))]
        unreliable = [float(by_trial[index]["unreliable"] or "nan") for index in range(len(LAMBDAS))]
        return {
            "leave-one-out": study["minimum"],
            "evidence": int(np.argmax(evidence)),
            # Neither is defined for λ = 0.
            "losses": [trial.get("mean") for trial in study["trials"]],
            "log_evidence": [value if np.isfinite(value) else None for value in evidence],
            "unreliable": [value if np.isfinite(value) else None for value in unreliable],
            "seconds": sum(float(line["seconds"]) for line in lines),
        }


def of_draw(options, name, source, draw):
    """Excess and cost of each rule."""
    end = f"{name}-{options.epochs}-{draw}.json"
    folds = sweeps.kept(options.out / f"rules-folds-{end}", lambda: cross_validated(options, source, draw))
    test = sweeps.kept(options.out / f"rules-test-{end}", lambda: tested(options, source, draw))
    if not np.isclose(folds["refit_test"], test["test"][folds["minimum"]], rtol=1e-12):
        raise SystemExit(f"{end}: the last training of the sweep differs from a run with the same λ")
    once, best = statistics.median(test["seconds"]), min(test["test"])
    count, part = len(LAMBDAS), 1 - 1 / FOLDS
    chosen = {
        "hold-out": (int(np.argmin(np.array(folds["losses"])[:, 0])), count * part + 1, folds["seconds_first_fold"] + once),
        "5-fold, minimum": (folds["minimum"], count * FOLDS * part + 1, folds["seconds"] + once),
        "5-fold, one standard error": (folds["one_standard_error"], count * FOLDS * part + 1, folds["seconds"] + once),
    }
    without = sweeps.kept(options.out / f"rules-criteria-{end}", lambda: without_validation(options, source, draw))
    for rule in ["leave-one-out", "evidence"]:
        chosen[rule] = (without[rule], count, without["seconds"])
    result = {}
    for rule, (index, trainings, seconds) in chosen.items():
        result[rule] = {"chosen": LAMBDAS[index], "excess": test["test"][index] - best, "cost": trainings, "seconds": seconds / once}
    result["evidence in training"] = {"chosen": None, "excess": test["evidence_test"] - best, "cost": 1, "seconds": test["evidence_seconds"] / once}
    return result, test["test"]


def main():
    parser = sweeps.arguments(__doc__, images=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    given = sweeps.sets_of(options)
    # The sets take turns, so that there are results of both early.
    results = {name: [] for name in given}
    for draw in range(options.draws):
        for name, source in given.items():
            results[name].append(of_draw(options, name, source, draw))
    for name, of_draws in results.items():
        print(f"### {sweeps.TITLES[name]}: {len(of_draws)} draws of {IMAGES} images, {options.epochs} epochs\n")
        curve = np.array([test for _, test in of_draws])
        sweeps.print_table(("λ", *LAMBDAS), [("test loss", *(f"{value:.3f}" for value in curve.mean(axis=0))), ("times the best", *np.bincount(curve.argmin(axis=1), minlength=len(LAMBDAS)))])
        rows = []
        for rule in RULES:
            found = [result[rule] for result, _ in of_draws if rule in result]
            if found:
                values = sorted(one["chosen"] for one in found if one["chosen"] is not None)
                cells = [f"{statistics.median(values):g} ({values[0]:g} to {values[-1]:g})" if values else "–"]
                rows.append((rule, sweeps.mean_and_error([one["excess"] for one in found]), *cells, f"{found[0]['cost']:.1f}", f"{statistics.median(one['seconds'] for one in found):.1f}"))
        sweeps.print_table(("rule", "excess of test loss", "λ chosen: median (range)", "cost in trainings", "in seconds"), rows)


if __name__ == "__main__":
    main()
