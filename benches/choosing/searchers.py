"""Grid, random search and TPE on the same budget over λ, learning rate and dropout, and Optuna's TPE driving the same program.

    pip install numpy optuna
    python3 benches/choosing/searchers.py --mnist DIR [--seeds 5]

27 trials each on 1,000 images (a fifth validates); each seed is another draw of images, another initial network, and another search. λ is from 0.1 to 100 and the learning rate
from 0.0001 to 0.01, both log-uniform, dropout from 0 to 0.6; the grid has three values of each, the ends and the middle. The best trial is trained again on all images and
measured on the test images. `--tpe` of the sweep is used if the program has it.
"""

import json
import math
import statistics
from pathlib import Path

import optuna

import sweeps

IMAGES, TRIALS, HALF = 1000, 27, 13
RATE, DROPOUT = "optimizer.learning_rate", "model.dropout"
RANGES = {sweeps.LAMBDA: (0.1, 100, True), RATE: (0.0001, 0.01, True), DROPOUT: (0, 0.6, False)}
CONFIG = """validation = 0.2
split_seed = 0

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


def ranges(count=""):
    """The words of a sweep for all keys, with so many values of each."""
    end = f":{count}" if count else ""
    return [word for key, (low, high, is_log) in RANGES.items() for word in ("--grid", f"{key}={'log' if is_log else 'linear'}:{low}:{high}{end}")]


def swept(options, config, work, seed, words):
    study, _ = sweeps.sweep(options, config, f"{work}/sweep", "--set", f"seed={seed}", *words)
    # A trial that has diverged has no mean.
    losses = [trial.get("mean") or math.inf for trial in study["trials"]]
    return {"losses": losses, "settings": study["trials"][study["chosen"]]["settings"], "test": study["refit"]["test"]["data_loss"]}


def by_optuna(options, config, work, seed):
    """Optuna's TPE with its defaults, as many trials at once as `--jobs` says."""
    keys = {"seed": seed, "train.keep": "last"}

    def objective(trial):
        settings = {key: trial.suggest_float(key, low, high, log=is_log) for key, (low, high, is_log) in RANGES.items()}
        run = f"{work}/trial-{trial.number}"
        sweeps.call(options, "train", config, "--run-dir", run, *sweeps.sets({**keys, **settings}), check=False)
        summary = Path(run) / "summary.json"
        measures = json.loads(summary.read_text()).get("validation") if summary.exists() else None
        if not measures:
            raise optuna.TrialPruned
        return measures["data_loss"]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
    study.optimize(objective, n_trials=TRIALS, n_jobs=options.jobs)
    summary = sweeps.train(options, config, f"{work}/refit", {**keys, "data.validation": 0, **study.best_params})
    return {"losses": [trial.value or math.inf for trial in study.trials], "settings": study.best_params, "test": summary["test"]["data_loss"]}


def main():
    parser = sweeps.arguments(__doc__, images=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    ways = {
        "grid": lambda config, work, seed: swept(options, config, work, seed, ranges(3)),
        "random": lambda config, work, seed: swept(options, config, work, seed, [*ranges(), "--random", TRIALS]),
        "tpe": lambda config, work, seed: swept(options, config, work, seed, [*ranges(), "--tpe", TRIALS]),
        "Optuna's TPE": lambda config, work, seed: by_optuna(options, config, work, seed),
    }
    has_tpe = sweeps.supports(options, "--tpe")
    for name, source in sweeps.sets_of(options).items():
        rows = []
        results = {}
        for seed in range(options.seeds):
            for way, search in ways.items():
                word = way.split("'")[0].lower()
                path = options.out / f"searchers-{name}-{options.epochs}-{word}-{seed}.json"
                if way == "tpe" and not has_tpe and not path.exists():
                    continue

                def make():
                    with sweeps.temporary(options) as work:
                        sweeps.write_draw(source, f"{work}/images", IMAGES, seed)
                        config = sweeps.write_config(f"{work}/config.toml", f"{work}/images", CONFIG.format(epochs=options.epochs))
                        return search(config, work, seed)

                results.setdefault(way, []).append(sweeps.kept(path, make))
        print(f"### {sweeps.TITLES[name]}: {options.seeds} seeds, {TRIALS} trials, {options.epochs} epochs\n")
        for way, found in results.items():
            # A grid's trials are in the order of its values, so that its first half says nothing.
            half = "–" if way == "grid" else sweeps.mean_and_error([min(one["losses"][:HALF]) for one in found])
            settings = " · ".join(f"{statistics.median(one['settings'][key] for one in found):.3g}" for key in RANGES)
            rows.append((way, half, sweeps.mean_and_error([min(one["losses"]) for one in found]), sweeps.mean_and_error([one["test"] for one in found]), settings))
        titles = ("search", f"lowest validation loss of {HALF} trials", f"of {TRIALS}", "test loss of the choice", "median λ · learning rate · dropout")
        sweeps.print_table(titles, rows)


if __name__ == "__main__":
    main()
