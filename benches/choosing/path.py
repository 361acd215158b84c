"""Does a path of λ with warm starts choose what whole trainings choose?

    python3 benches/choosing/path.py --mnist DIR --fashion-mnist DIR [--draws 10] [--model mlp]

For each draw of 300 images of 14×14 pixels, 25 values of λ are compared on five folds: by 125 whole trainings of 60 epochs (cold); by the same with another seed and the same
folds, which shows how far the choice moves by chance; and by paths (`--path`) with 1, 2 and 4 epochs for each λ. The last training of a path's sweep gives the finalist's
losses, which must be those of the cold sweep to the bit, as must those of the first λ of the path; so the choices with more finalists are read off the cold losses. The first λ
is compared with the finalists, and not trained again.

A step is one of the 24 between neighbours on the grid, a factor of 1.4. Cost: epochs of all trainings on folds, in trainings of 60 epochs. The excess is the test loss with
the chosen λ over that with the λ that cold trainings choose, of networks trained once on all images of the draw.
"""

import json
from pathlib import Path

import numpy as np

import sweeps

LAMBDAS = [float(f"{value:.3g}") for value in np.geomspace(0.1, 300, 25)]
GRID = f"{sweeps.LAMBDA}={sweeps.values_of(LAMBDAS)}"
IMAGES, TEST, FOLDS, EPOCHS = 300, 3000, 5, 60
PATH_EPOCHS, FINALISTS = [1, 2, 4], [1, 3, 5]
MODELS = {"cnn": "channels = [8, 16]\nhidden = 32", "mlp": 'kind = "mlp"\nhidden = 32'}
CONFIG = f"""split_seed = 0

[model]
{{model}}

[[penalty]]
kind = "l2"
lambda = 0

[optimizer]
kind = "adam"
learning_rate = 0.01

[schedule]
kind = "cosine"

[train]
epochs = {EPOCHS}
batch_size = 32

[backend]
threads = 1
"""


def open_draw(options, work, source, draw):
    images, labels = sweeps.read_images(source, "train")
    chosen = np.random.default_rng(draw).permutation(len(images))[:IMAGES]
    sweeps.write_images(f"{work}/images", "train", sweeps.halved(images[chosen]), labels[chosen])
    images, labels = (values[:TEST] for values in sweeps.read_images(source, "test"))
    sweeps.write_images(f"{work}/images", "test", sweeps.halved(images), labels)
    return sweeps.write_config(f"{work}/config.toml", f"{work}/images", CONFIG.format(model=MODELS[options.model]))


def cold(options, source, draw, seed):
    with sweeps.temporary(options) as work:
        config = open_draw(options, work, source, draw)
        study, lines = sweeps.sweep(options, config, f"{work}/sweep", "--folds", FOLDS, "--grid", GRID, "--set", f"seed={seed}")
        return {"losses": sweeps.fold_losses(study, lines).tolist(), "chosen": study["chosen"]}


def path(options, source, draw, epochs):
    with sweeps.temporary(options) as work:
        config = open_draw(options, work, source, draw)
        keys = sweeps.sets({"seed": draw, "sweep.path_epochs": epochs, "sweep.path_finalists": 1})
        words = ["--path", "--folds", FOLDS, "--grid", GRID, *keys]
        sweeps.sweep(options, config, f"{work}/sweep", *words)
        losses, finalists = np.full((len(LAMBDAS), FOLDS), np.nan), {}
        for file in Path(f"{work}/sweep/fits").glob("*.json"):
            fit = json.loads(file.read_text())
            loss = np.nan if fit["validation_loss"] is None else fit["validation_loss"]
            if fit.get("is_finalist"):
                finalists[fit["fold"]] = loss
            else:
                losses[fit["trial"], fit["fold"] - 1] = loss
        [finalist] = json.loads(Path(f"{work}/sweep/sweep.json").read_text())["finalists"]
        again = [finalists[fold + 1] for fold in range(FOLDS)] if finalist > 0 else losses[0].tolist()
        return {"losses": losses.tolist(), "chosen": finalist, "finalist": again}


def tested(options, source, draw):
    with sweeps.temporary(options) as work:
        config = open_draw(options, work, source, draw)
        keys = {"seed": draw, "data.validation": 0}
        work_of = lambda value: sweeps.train(options, config, f"{work}/{value}", {**keys, sweeps.LAMBDA: value})["test"]["data_loss"]
        return {"test": sweeps.in_parallel(options, work_of, LAMBDAS)}


def of_draw(options, name, source, draw):
    """By the name of a way to choose: index of the choice and cost."""
    kept = lambda what, make: sweeps.kept(options.out / f"path-{options.model}-{what}-{name}-{draw}.json", make)
    whole = kept("cold", lambda: cold(options, source, draw, draw))
    chosen = {"cold": (whole["chosen"], 125)}
    means = np.array(whole["losses"]).mean(axis=1)
    levels = {"cold": means}
    for epochs in PATH_EPOCHS:
        found = kept(epochs, lambda epochs=epochs: path(options, source, draw, epochs))
        if not np.array_equal(found["finalist"], whole["losses"][found["chosen"]]) or not np.array_equal(found["losses"][0], whole["losses"][0]):
            raise SystemExit(f"{name}, draw {draw}: a finalist's losses differ from those of the same training in the cold sweep")
        levels[f"path, {epochs}"] = np.array(found["losses"]).mean(axis=1)
        order = np.argsort(levels[f"path, {epochs}"])
        for count in FINALISTS:
            compared = {0, *order[:count].tolist()}
            spent = FOLDS * (len(compared) + (len(LAMBDAS) - 1) * epochs / EPOCHS)
            chosen[f"path, {epochs}, {count}"] = (min(compared, key=lambda index: means[index]), spent)
    if draw < options.other_seeds:
        other = kept("other-seed", lambda: cold(options, source, draw, 1000 + draw))
        chosen["cold, another seed"] = (other["chosen"], 125)
    test = kept("test", lambda: tested(options, source, draw))
    return chosen, levels, np.array(test["test"])


def main():
    parser = sweeps.arguments(__doc__, images=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--model", choices=MODELS, default="cnn")
    parser.add_argument("--other-seeds", type=int, default=10, help="the draws with cold trainings of another seed")
    options = parser.parse_args()
    given = sweeps.sets_of(options)
    results = {name: [] for name in given}
    for draw in range(options.draws):
        for name, source in given.items():
            results[name].append(of_draw(options, name, source, draw))
    for name, of_draws in results.items():
        print(f"### {sweeps.TITLES[name]}: {len(of_draws)} draws of {IMAGES} images, {options.model}\n")
        rows = [("test loss", *(f"{value:.3f}" for value in np.mean([test for _, _, test in of_draws], axis=0)))]
        for way in of_draws[0][1]:
            rows.append((way, *(f"{value:.3f}" for value in np.mean([levels[way] for _, levels, _ in of_draws], axis=0))))
        sweeps.print_table(("λ", *LAMBDAS), rows)
    everything = [one for of_draws in results.values() for one in of_draws]
    rows = []
    for way in everything[0][0]:
        of_way = [(chosen[way], chosen["cold"][0], test) for chosen, _, test in everything if way in chosen]
        steps = np.array([index - whole for (index, _), whole, _ in of_way])
        excess = [test[index] - test[whole] for (index, _), whole, test in of_way]
        over_best = [test[index] - test.min() for (index, _), _, test in of_way]
        cells = [f"{np.mean([cost for (_, cost), _, _ in of_way]):.1f}", f"{(np.abs(steps) <= 1).sum()} of {len(steps)}", f"{np.abs(steps).mean():.1f}", f"{steps.mean():+.1f}"]
        rows.append((way, *cells, sweeps.mean_and_error(excess), sweeps.mean_and_error(over_best)))
    titles = ("path, epochs, finalists", "cost", "within one step", "steps away", "signed", "excess of test loss over cold", "over the best λ")
    print(f"### {len(everything)} draws\n")
    sweeps.print_table(titles, rows)


if __name__ == "__main__":
    main()
