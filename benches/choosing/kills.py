"""Kills a sweep of two jobs at random instants, and says whether anything was lost.

    pip install numpy optuna
    python3 benches/choosing/kills.py [--kills 300] [--seed 0]

Sweeps of the built-in digits (6 values of λ × 2 seeds × 2 folds, one of them diverging) are killed by SIGKILL, half the time a few milliseconds after a SIGTERM, which makes the
program save its state, and resumed, until there were that many kills. After each kill:

- every result of a training that there was is still there, with the same bytes;
- Optuna opens `journal.log`: no trial is in it twice or running, and each has all its trainings in `fits`, and the value that the sweep without kills gave it;

and after each sweep `trials.csv` (seconds aside), the choice, and the measures of the last training are those of the sweep without kills.
"""

import json
import random
import signal
import subprocess
import sys
import time
import warnings
from collections import Counter
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

import sweeps

CONFIG = """
name = "kills"
[data]
source = "mnist_mini"
train_limit = 400
[model]
kind = "mlp"
hidden = 32
[[penalty]]
kind = "l2"
lambda = 0
[train]
epochs = 100
batch_size = 20
"""
# With the last λ the steps diverge.
VALUES = ["--grid", f"{sweeps.LAMBDA}=0,0.1,1,10,100,1e6", "--set", "optimizer.kind=sgd", "--set", "optimizer.learning_rate=0.1", "--seeds", "2", "--folds", "2"]
TRAININGS_OF_TRIAL = 4
# The program takes a lock that a killed one left after this time.
GRACE = 30


def main():
    parser = sweeps.arguments(__doc__)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    started, dice, counts = time.monotonic(), random.Random(options.seed), Counter()
    with sweeps.temporary(options) as work:
        work = Path(work)
        (work / "config.toml").write_text(CONFIG)
        begun = time.monotonic()
        sweeps.call(options, *command(work, work / "whole"))
        whole, seconds = of(work / "whole"), time.monotonic() - begun
        while counts["kills"] < options.kills:
            killed(options, work, work / f"sweep-{counts['sweeps']}", whole, seconds, dice, counts)
            counts["sweeps"] += 1
            print(f"{counts['kills']} kills, {counts['sweeps']} sweeps", file=sys.stderr, flush=True)
    rows = [(name, counts[name]) for name in ("kills", "sweeps", "kills before the plan was written", "kills with a result that was not in the journal yet", "kills with a torn last line of the journal", "kills in the last training", "kills with a lock left in the folder", "resumes that waited for it", "faults")]
    print(f"{time.monotonic() - started:.0f} s; a sweep without kills takes {seconds:.1f} s\n")
    sweeps.print_table(("what", "how often"), rows)
    sys.exit(1 if counts["faults"] else 0)


def command(work, folder):
    if (folder / "sweep.json").exists():
        return ["resume", folder, "--jobs", "2"]
    return ["sweep", work / "config.toml", "--sweep-dir", folder, "--jobs", "2", *VALUES]


def killed(options, work, folder, whole, seconds, dice, counts):
    """One sweep, killed again and again until it has ended."""
    before = {}
    while True:
        ending = run_and_kill(options, work, folder, seconds, dice, counts)
        if ending == 0:
            break
        # SIGTERM ends it before it has begun to listen.
        if ending not in (-signal.SIGKILL, -signal.SIGTERM, 75):
            fault(counts, folder, f"`{' '.join(map(str, command(work, folder)))}` ended with {ending}")
            return
        now = {path.name: path.read_bytes() for path in folder.glob("fits/*.json")}
        for name, content in before.items():
            if now.get(name) != content:
                fault(counts, folder, f"{name} was lost or changed")
        before = now
        check_journal(folder, whole, now, counts)
        counts["kills before the plan was written"] += not (folder / "sweep.json").exists()
        counts["kills in the last training"] += (folder / "refit").exists()
        if counts["kills"] >= options.kills:
            # Let it end.
            sweeps.call(options, *command(work, folder))
            break
    found = of(folder)
    for name, value in whole.items():
        if found[name] != value:
            fault(counts, folder, f"{name} differs:\n{value}\n{found[name]}")
    if len(found["journal"]) != len(whole["journal"]):
        fault(counts, folder, "the journal has another number of trials")


def run_and_kill(options, work, folder, seconds, dice, counts):
    """The exit code of the program, which is killed at a random instant if it has not ended."""
    lock = folder / "journal.log.lock"
    waits = lock.exists()
    process = subprocess.Popen([options.regulus, *map(str, command(work, folder))], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    # Sometimes early, so that the start is hit, too.
    instant = dice.uniform(0, seconds * dice.choice([0.1, 0.4, 1.0]))
    if waits:
        counts["resumes that waited for it"] += 1
        deadline = time.monotonic() + GRACE + 10
        while lock.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
    try:
        process.communicate(timeout=instant)
    except subprocess.TimeoutExpired:
        if dice.random() < 0.5:
            process.send_signal(signal.SIGTERM)
            time.sleep(dice.uniform(0, 0.03))
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        counts["kills"] += process.returncode == -signal.SIGKILL
    counts["kills with a lock left in the folder"] += lock.exists()
    return process.returncode


def check_journal(folder, whole, units, counts):
    path = folder / "journal.log"
    ended = Counter(int(name[5:9]) for name in units)
    complete = {trial for trial, count in ended.items() if count == TRAININGS_OF_TRIAL}
    content = path.read_bytes() if path.exists() else b""
    counts["kills with a torn last line of the journal"] += bool(content) and not content.endswith(b"\n")
    if b"\n" not in content:
        found = []
    else:
        try:
            found = optuna.load_study(study_name="kills", storage=JournalStorage(JournalFileBackend(str(path)))).trials
        except Exception as error:  # noqa: BLE001
            return fault(counts, folder, f"Optuna does not open the journal: {error!r}")
    numbers = [trial.user_attrs["trial"] for trial in found]
    if len(set(numbers)) != len(numbers):
        fault(counts, folder, f"a trial is twice in the journal: {numbers}")
    if any(trial.state not in (TrialState.COMPLETE, TrialState.FAIL) for trial in found):
        fault(counts, folder, "a trial is left running")
    if not set(numbers) <= complete:
        fault(counts, folder, f"trials without results are in the journal: {set(numbers) - complete}")
    for trial in found:
        if (trial.state.name, trial.value) != whole["journal"][trial.user_attrs["trial"]]:
            fault(counts, folder, f"trial {trial.user_attrs['trial']} has another value than without kills")
    counts["kills with a result that was not in the journal yet"] += bool(complete - set(numbers))


def of(folder):
    """What a sweep gave, seconds aside."""
    study, lines = sweeps.read_sweep(folder)
    trials = [{key: value for key, value in line.items() if key != "seconds"} for line in lines]
    journal = optuna.load_study(study_name="kills", storage=JournalStorage(JournalFileBackend(str(folder / "journal.log")))).trials
    refit = {key: value for key, value in study["refit"].items() if key in ("epochs", "train", "test", "weight_norm_squared")}
    compared = [{key: value for key, value in trial.items() if key != "seconds"} for trial in study["trials"]]
    return {
        "trials.csv": trials,
        "the comparison": compared,
        "the choice": (study["minimum"], study["chosen"]),
        "the last training": refit,
        "journal": {trial.user_attrs["trial"]: (trial.state.name, trial.value) for trial in journal},
        "the number of trials in the journal": len(journal),
    }


def fault(counts, folder, problem):
    counts["faults"] += 1
    print(f"FAULT in {folder.name} after {counts['kills']} kills: {problem}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
