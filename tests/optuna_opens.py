"""Checks that Optuna opens the journal of a sweep, and that what it says of it is what `study.json` says.

    pip install optuna
    cargo build --release
    python3 tests/optuna_opens.py target/release/regulus

Sweeps two keys of the built-in digits, of which one trial diverges: once on a grid with λ = 0, once on a path, once at random. Optuna's best trial, values, states, parameters,
importances and the data of its plots are compared.
"""

import json
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState

REGULUS = Path(sys.argv[1]).resolve()
CONFIG = """
name = "digits"
[data]
source = "mnist_mini"
train_limit = 300
validation = 0.3
[model]
kind = "linear"
[[penalty]]
kind = "l2"
lambda = 1
[train]
epochs = 2
"""
warnings.simplefilter("error")
optuna.logging.set_verbosity(optuna.logging.ERROR)


def swept(folder, *options):
    command = [REGULUS, "sweep", "config.toml", "--sweep-dir", "sweep", *options]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    storage = JournalStorage(JournalFileBackend(str(folder / "sweep/journal.log")))
    return optuna.load_study(study_name="digits", storage=storage), json.loads((folder / "sweep/study.json").read_text())


def compared(study, expected, keys):
    own = {trial.user_attrs["trial"]: trial for trial in study.trials}
    assert sorted(own) == list(range(len(expected["trials"]))) and not any(trial.state == TrialState.RUNNING for trial in study.trials)
    for trial in expected["trials"]:
        found = own[trial["trial"]]
        assert found.params.keys() == keys and all(found.params[key] == trial["settings"][key] for key in keys), (found.params, trial["settings"])
        if trial["state"] == "completed":
            assert found.state == TrialState.COMPLETE and abs(found.value - trial["mean"]) < 1e-12, (found, trial)
            assert len(found.intermediate_values) == expected["seeds"] * (expected["folds"] or 1)
        else:
            assert found.state == TrialState.FAIL and found.user_attrs["message"] == trial["message"]
        assert found.datetime_start <= found.datetime_complete
    assert study.best_trial.user_attrs["trial"] == expected["minimum"]


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "config.toml").write_text(CONFIG)
    study, expected = swept(folder, "--grid", "penalty.0.lambda=0,1.0,100.0", "--grid", "optimizer.learning_rate=0.001,0.01,1e39", "--folds", "2")
    compared(study, expected, {"penalty.0.lambda", "optimizer.learning_rate"})
    failed = sum(trial.state == TrialState.FAIL for trial in study.trials)
    importances = optuna.importance.get_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0))
    assert abs(sum(importances.values()) - 1) < 1e-9 and failed == 3, (importances, failed)
    print(f"grid: {len(study.trials)} trials, {failed} failed, best {study.best_value:.4f} at {study.best_params}, importances {importances}")

with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "config.toml").write_text(CONFIG)
    study, expected = swept(folder, "--path", "--folds", "2", "--set", "sweep.path_finalists=2", "--grid", "penalty.0.lambda=0.1,1.0,10.0,100.0")
    compared(study, expected, {"penalty.0.lambda"})
    found = {trial.user_attrs["trial"]: trial.user_attrs.get("from_initial_weights") for trial in study.trials}
    checks = {check["trial"]: check["from_start"] for check in expected["path"]}
    assert all((found[trial] is None) == (trial not in checks) for trial in found) and all(abs(found[trial] - checks[trial]) < 1e-12 for trial in checks)
    print(f"path: {len(study.trials)} trials, {len(checks)} with a loss from initial weights, best {study.best_value:.4f}")

with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "config.toml").write_text(CONFIG)
    study, expected = swept(folder, "--grid", "penalty.0.lambda=log:0.01:100", "--grid", "train.batch_size=8,32", "--random", "6")
    compared(study, expected, {"penalty.0.lambda", "train.batch_size"})
    # Optuna goes on with the same study.
    sampler = optuna.samplers.TPESampler(seed=0, n_startup_trials=3)
    more = optuna.load_study(study_name="digits", storage=study._storage, sampler=sampler).ask(study.trials[0].distributions)
    assert 0.01 <= more.params["penalty.0.lambda"] <= 100
    print(f"random: {len(study.trials)} trials, best {study.best_value:.4f} at {study.best_params}; the next that Optuna asks for: {more.params}")
