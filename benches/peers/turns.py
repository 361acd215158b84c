"""Programs that are measured in turns."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class Regulus:
    """Trains `config` with the keys `sets` into folders of `scratch`, in float32 or bfloat16, and infers batches of `batch` images."""

    def __init__(self, config, sets, batch, scratch, half=False):
        self.name = f"Regulus, {'bfloat16' if half else 'float32'}"
        self.batch, self.scratch, self.runs = batch, scratch, 0
        if half:
            sets = [*sets, "backend.precision=bf16"]
        command = [REPOSITORY / "target/release/regulus", "train", config, "--no-report", "--no-tensorboard"]
        self.command = [*map(str, command), *(word for one in sets for word in ("--set", one))]

    def measure(self):
        self.runs += 1
        run = self.scratch / f"{self.name.split()[-1]}{self.runs}"
        subprocess.run([*self.command, "--run-dir", str(run)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
        speeds = [row["images_per_second"] for row in rows if row["split"] == "train"]
        printed = subprocess.run([REPOSITORY / "target/release/examples/inference", run, str(self.batch)], check=True, capture_output=True, text=True).stdout
        return statistics.median(speeds[1:]), json.loads(printed)[f"batch_{self.batch}_images_per_second"]


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
