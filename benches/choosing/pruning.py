"""How much do pruners save, and how often do they kill the trial that would have won?

    python3 benches/choosing/pruning.py --mnist DIR --fashion-mnist DIR [--draws 10] [--real 10]

A study is 13 λ on one fold of one draw of 1,000 images: 10 draws × 5 folds × 2 sets = 100 studies, the trainings of `rules.py`, which this script does first where they are
missing. The validation losses after each epoch say what a pruner would do:

- halving: trials are compared after 1, 3 and 9 epochs; 13, 5, 2 and 1 go on (successive halving with a reduction of 3 and a minimum of 1 epoch; of equals the first);
- asynchronous halving (ASHA): the same, but a trial is compared, when it arrives, with those that have arrived before, and goes on if it is in their best third. Trials arrive in
  a random order, one worker, 20 orders a study;
- top K: all are trained 1 epoch, the best K to the end.

With later first comparisons, too: where λ is large the loss falls later, so that the first epochs rank trials by λ and not by what they come to.

The winner is the trial with the lowest loss after the last epoch. Saved: epochs not trained. Excess: the test loss with the λ that is chosen after pruning over that with the
λ that is chosen without.

`--real N` runs the first N studies of each set with the program's own pruners, if it has them, and checks that they choose what was computed.
"""

import sys

import numpy as np

import rules
import sweeps

REDUCTION = 3
ORDERS = 20


def halving(curves, first=1):
    """The last epoch of each trial, if they are compared after `first` epochs, three times as many, and so on."""
    trials, epochs = curves.shape
    left, epoch, last = list(range(trials)), first, np.zeros(trials, int)
    while len(left) > 1 and epoch < epochs:
        count = -(-len(left) // REDUCTION)
        ranked = sorted(left, key=lambda trial: (curves[trial, epoch - 1], trial))
        last[ranked[count:]] = epoch
        left, epoch = ranked[:count], epoch * REDUCTION
    last[left] = epochs
    return last


def asynchronous(curves, order):
    trials, epochs = curves.shape
    arrived, last, waiting = {}, np.zeros(trials, int), list(order)
    # A trial that arrives may make room for an earlier one, which then goes on.
    while True:
        go = next_of(arrived, last, epochs)
        if go is None:
            if not waiting:
                return last
            trial, epoch = waiting.pop(0), 1
        else:
            trial, epoch = go, min(last[go] * REDUCTION, epochs)
        last[trial] = epoch
        if epoch < epochs:
            arrived.setdefault(epoch, {})[trial] = curves[trial, epoch - 1]


def next_of(arrived, last, epochs):
    """A trial in the best third of its rung that has not gone on, of the highest rung."""
    for epoch in sorted(arrived, reverse=True):
        rung = arrived[epoch]
        best = sorted(rung, key=rung.get)[: len(rung) // REDUCTION]
        for trial in best:
            if last[trial] == epoch:
                return trial
    return None


def top(count, first=1):
    def prune(curves):
        trials, epochs = curves.shape
        last = np.full(trials, first)
        last[np.argsort(curves[:, first - 1], kind="stable")[:count]] = epochs
        return last

    return prune


def winner(curves, last):
    """The trial of the lowest loss among those that were trained to the end, or of asynchronous halving among those that were trained longest."""
    longest = np.flatnonzero(last == last.max())
    return int(longest[np.argmin(curves[longest, last.max() - 1])])


def studies(options, given):
    found = []
    for draw in range(options.draws):
        for name, source in given.items():
            end = f"{name}-{options.epochs}-{draw}.json"
            folds = sweeps.kept(options.out / f"rules-folds-{end}", lambda: rules.cross_validated(options, source, draw))
            test = sweeps.kept(options.out / f"rules-test-{end}", lambda: rules.tested(options, source, draw))
            for fold in range(1, rules.FOLDS + 1):
                curves = np.array([folds["curves"][f"{trial}, {fold}"] for trial in range(len(rules.LAMBDAS))])
                if curves.shape[1] == 0:
                    sys.exit(f"{end} has no losses of single epochs: remove it, and use a program that records them")
                found.append({"set": name, "source": source, "draw": draw, "fold": fold, "curves": curves, "test": test["test"]})
    return found


def real(options, one, words):
    """What the program chooses with its own pruner, and the epochs that it trained."""
    with sweeps.temporary(options) as work:
        config = rules.open_draw(options, work, one["source"], one["draw"])
        split = ["--set", f'data.validation="fold {one["fold"]}/{rules.FOLDS}"', "--set", f"seed={one['draw']}"]
        study, lines = sweeps.sweep(options, config, f"{work}/sweep", "--grid", rules.GRID, *split, *words)
        return study["chosen"], [int(line["epochs"]) for line in lines]


def main():
    parser = sweeps.arguments(__doc__, images=True)
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--real", type=int, default=0)
    options = parser.parse_args()
    given = sweeps.sets_of(options)
    found = studies(options, given)
    dice = np.random.default_rng(0)
    pruners = {"halving": halving, "asynchronous halving": None, **{f"top {count}": top(count) for count in (1, 2, 3, 5)}}
    for first in (3, 9, 15):
        pruners[f"halving from {first} epochs on"] = lambda curves, first=first: halving(curves, first)
        pruners[f"top 3 after {first} epochs"] = top(3, first)
    winners = np.bincount([int(np.argmin(one["curves"][:, -1])) for one in found], minlength=len(rules.LAMBDAS))
    print(f"{len(found)} studies of {len(rules.LAMBDAS)} λ, {options.epochs} epochs\n")
    rows, by_lambda = [], [("winner without pruning", *winners)]
    for name, prune in pruners.items():
        killed, weight, saved, excess = np.zeros(len(rules.LAMBDAS)), 0, [], []
        for one in found:
            curves = one["curves"]
            best = int(np.argmin(curves[:, -1]))
            ways = [prune(curves)] if prune else [asynchronous(curves, dice.permutation(len(curves))) for _ in range(ORDERS)]
            for last in ways:
                killed[best] += (last[best] < curves.shape[1]) / len(ways)
                saved.append(1 - last.sum() / curves.size)
                excess.append(one["test"][winner(curves, last)] - one["test"][best])
        rows.append((name, f"{100 * np.mean(saved):.0f} %", f"{100 * killed.sum() / len(found):.0f} %", sweeps.mean_and_error(excess)))
        by_lambda.append((f"killed by {name}", *(f"{value:.0f}" for value in killed)))
    sweeps.print_table(("pruner", "saved", "winner killed", "excess of test loss"), rows)
    sweeps.print_table(("λ", *rules.LAMBDAS), by_lambda)
    if options.real and not sweeps.supports(options, "--pruner"):
        sys.exit("the program has no pruner")
    of_program = {"halving": (halving, ["--pruner", "halving"]), "top 3": (top(3), ["--pruner", "top-k"])}
    for name, (prune, words) in of_program.items():
        same, count = 0, 0
        for one in (one for name in given for one in [one for one in found if one["set"] == name][: options.real]):
            last = prune(one["curves"])
            chosen, epochs = real(options, one, words)
            same += (chosen, epochs) == (winner(one["curves"], last), last.tolist())
            count += 1
        if count:
            print(f"The program's own {name}: the choice and the epochs of all trials as computed in {same} of {count} studies.")


if __name__ == "__main__":
    main()
