"""Optuna searches λ, the learning rate and dropout, and trains each trial by `regulus train`. Trials that fall behind are stopped.

    pip install optuna
    python3 examples/optuna_drive.py configs/quickstart.toml artifacts/optuna 30

The study is in FOLDER/journal.log, for `optuna-dashboard`, and each run in a folder beside it. The same command again adds trials.
"""

import json
import os
import subprocess
import sys

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

config, folder, trials = sys.argv[1], sys.argv[2], int(sys.argv[3])


def objective(trial):
    settings = {
        "penalty.0.lambda": trial.suggest_float("penalty.0.lambda", 1e-3, 1e2, log=True),
        "optimizer.learning_rate": trial.suggest_float("optimizer.learning_rate", 1e-4, 1e-1, log=True),
        "model.dropout": trial.suggest_float("model.dropout", 0.0, 0.7),
    }
    sets = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    command = [os.environ.get("REGULUS", "regulus"), "train", config, *sets, "--run-dir", f"{folder}/trial{trial.number}", "--json"]
    loss = float("nan")  # Optuna counts a trial without a loss as failed.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        for line in map(json.loads, process.stdout):
            if line["event"] == "epoch" and line["split"] == "validation":
                loss = line["data_loss"]
                trial.report(loss, line["epoch"])
                if trial.should_prune():
                    process.terminate()
                    raise optuna.TrialPruned
    return loss if process.returncode == 0 else float("nan")


os.makedirs(folder, exist_ok=True)
storage = JournalStorage(JournalFileBackend(f"{folder}/journal.log"))
samplers = {"sampler": optuna.samplers.TPESampler(seed=0), "pruner": optuna.pruners.MedianPruner(n_startup_trials=5)}
study = optuna.create_study(study_name="regulus", storage=storage, load_if_exists=True, direction="minimize", **samplers)
study.optimize(objective, n_trials=trials)
print(f"validation loss {study.best_value:.4f} with {study.best_params}: {folder}/trial{study.best_trial.number}")
