"""Runs `examples/optuna_drive.py` on the built-in digits, with the real Optuna.

    pip install optuna
    cargo build --release
    python3 tests/optuna_drives.py target/release/regulus
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

REGULUS = Path(sys.argv[1]).resolve()
EXAMPLE = Path(__file__).resolve().parent.parent / "examples/optuna_drive.py"
CONFIG = """
name = "digits"
[data]
source = "mnist_mini"
train_limit = 300
validation = 0.3
[model]
kind = "mlp"
hidden = 16
[[penalty]]
kind = "l2"
lambda = 1
[train]
epochs = 5
"""
optuna.logging.set_verbosity(optuna.logging.ERROR)


def rows(run):
    lines = (run / "metrics.jsonl").read_text().splitlines()
    return {row["epoch"]: row["data_loss"] for row in map(json.loads, lines) if row["split"] == "validation"}


def setting(config, key):
    return float(next(line for line in config.splitlines() if line.startswith(f"{key} = ")).split(" = ")[1])


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "config.toml").write_text(CONFIG)
    command = [sys.executable, EXAMPLE, "config.toml", "study"]
    run = lambda trials: subprocess.run([*command, str(trials)], cwd=folder, check=True, capture_output=True, text=True, env={**os.environ, "REGULUS": str(REGULUS)})
    run(12)
    print(run(4).stdout.strip())
    storage = JournalStorage(JournalFileBackend(str(folder / "study/journal.log")))
    study = optuna.load_study(study_name="regulus", storage=storage)
    assert len(study.trials) == 16, "the second run goes on with the study of the first"
    for trial in study.trials:
        path = folder / f"study/trial{trial.number}"
        found, config = rows(path), (path / "config.toml").read_text()
        for key in ["learning_rate", "dropout", "lambda"]:
            expected = next(value for name, value in trial.params.items() if name.endswith(key))
            assert abs(setting(config, key) - expected) <= 1e-6 * expected, (key, trial.params)
        assert trial.state in (TrialState.COMPLETE, TrialState.PRUNED), trial
        assert all(found[epoch] == loss for epoch, loss in trial.intermediate_values.items()), trial
        if trial.state == TrialState.COMPLETE:
            assert trial.value == found[5] == json.loads((path / "summary.json").read_text())["last"]["validation"]["data_loss"], trial
    pruned = len(study.get_trials(states=[TrialState.PRUNED]))
    assert pruned > 0, "some trials are stopped"
    importances = optuna.importance.get_param_importances(study)
    print(f"Optuna has trained {len(study.trials)} trials, of which it has stopped {pruned}; importances {importances}")
