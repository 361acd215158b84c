"""Programs that are measured in turns."""

import statistics
import sys


def table(programs, rounds, head):
    """Prints a table of the medians of `rounds` rounds: training and inference of each program in images/s, and their ratios to the best float32 of PyTorch."""
    found = {program.name: [] for program in programs}
    for number in range(rounds):
        for program in programs if number % 2 == 0 else programs[::-1]:
            found[program.name].append(program.measure())
            print(f"round {number + 1}: {program.name}: {found[program.name][-1]}", file=sys.stderr, flush=True)
    medians = {name: [statistics.median(values) for values in zip(*measured)] for name, measured in found.items()}
    peers = [values for name, values in medians.items() if name.startswith("PyTorch") and name.endswith("float32")]
    best = [max(values) for values in zip(*peers)]
    print(head)
    print("|---|---|---|---|---|")
    for name, (training, inference) in medians.items():
        print(f"| {name} | {training:.0f} | {training / best[0]:.2f} | {inference:.0f} | {inference / best[1]:.2f} |")
