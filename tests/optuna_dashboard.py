"""Checks that Optuna's plots and optuna-dashboard show of the journal of a sweep what `study.json` says.

    pip install optuna optuna-dashboard plotly scikit-learn
    cargo build --release
    python3 tests/optuna_dashboard.py target/release/regulus

The dashboard is started on the loopback interface, and asked by its HTTP interface.
"""

import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import optuna
from optuna import visualization
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

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
KEYS = ["penalty.0.lambda", "optimizer.learning_rate"]
SPACE = ["--grid", f"{KEYS[0]}=0,log:0.1:100:4", "--grid", f"{KEYS[1]}=0.001,0.01,1e39", "--seeds", "2"]
optuna.logging.set_verbosity(optuna.logging.ERROR)


def close(found, expected):
    return len(found) == len(expected) and all(abs(one - other) < 1e-9 for one, other in zip(found, expected))


def check_plots(study, expected):
    completed = [trial for trial in expected["trials"] if trial["state"] == "completed"]
    numbers = {trial.user_attrs["trial"]: trial.number for trial in study.trials}
    means = {numbers[trial["trial"]]: trial["mean"] for trial in completed}
    history, best, *_ = visualization.plot_optimization_history(study).data
    assert close(list(history.y), [means[number] for number in history.x]) and len(history.x) == len(completed)
    assert abs(best.y[-1] - min(means.values())) < 1e-9
    for figure in visualization.plot_slice(study, KEYS).data:
        numbers_shown = list(figure.marker.color)
        assert sorted(numbers_shown) == sorted(means) and close(list(figure.y), [means[number] for number in numbers_shown]), figure
    seeds = {trace.name: list(trace.y) for trace in visualization.plot_intermediate_values(study).data}
    for number, mean in means.items():
        values = seeds[f"Trial{number}"]
        assert len(values) == 2 and abs(sum(values) / 2 - mean) < 1e-9, (values, mean)
    bars = visualization.plot_param_importances(study, evaluator=optuna.importance.FanovaImportanceEvaluator(seed=0)).data[0]
    assert set(bars.y) == set(KEYS) and abs(sum(bars.x) - 1) < 1e-9, bars
    # One line for each trial; the first point is its value.
    lines = [trace for trace in visualization.plot_parallel_coordinate(study, KEYS).data if trace.customdata is not None]
    shown = sorted(float(line.customdata[0][1]) for line in lines)
    assert len(shown) == len(means) and all(abs(one / other - 1) < 0.01 for one, other in zip(shown, sorted(means.values()))), shown
    assert len(visualization.plot_rank(study, KEYS).data[0].hovertext) == len(means)
    assert len(visualization.plot_contour(study, KEYS).data) > 0
    assert sum(len(trace.x) for trace in visualization.plot_timeline(study).data) == len(study.trials)
    assert abs(max(visualization.plot_edf(study).data[0].y) - 1) < 1e-9
    return len(completed)


def check_dashboard(journal, expected):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    program = [Path(sys.executable).parent / "optuna-dashboard", journal, "--host", "127.0.0.1", "--port", str(port)]
    server = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def get(path):
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=30) as answer:
            return answer.read()

    try:
        end = time.monotonic() + 60
        while True:
            try:
                [summary] = json.loads(get("api/studies"))["study_summaries"]
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < end, "optuna-dashboard does not answer"
                time.sleep(0.2)
        assert (summary["study_name"], summary["directions"]) == ("digits", ["minimize"]), summary
        detail = json.loads(get(f"api/studies/{summary['study_id']}?after=0"))
        of_plan = {json.loads(attribute["value"]): trial for trial in detail["trials"] for attribute in trial["user_attrs"] if attribute["key"] == "trial"}
        assert sorted(of_plan) == list(range(len(expected["trials"])))
        for trial in expected["trials"]:
            found = of_plan[trial["trial"]]
            params = {param["name"]: float(param["param_external_value"]) for param in found["params"]}
            assert params == {key: float(trial["settings"][key]) for key in KEYS}, (params, trial["settings"])
            assert found["state"] == ("Complete" if trial["state"] == "completed" else "Fail"), found
            assert trial["state"] != "completed" or abs(found["values"][0] - trial["mean"]) < 1e-9
        [best] = detail["best_trials"]
        assert best["number"] == of_plan[expected["minimum"]]["number"], best
        [importances] = json.loads(get(f"api/studies/{summary['study_id']}/param_importances"))["param_importances"]
        assert {importance["name"] for importance in importances} == set(KEYS), importances
        assert b"<html" in get(f"dashboard/studies/{summary['study_id']}")
        return len(of_plan)
    finally:
        server.terminate()
        server.wait(30)


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "config.toml").write_text(CONFIG)
    subprocess.run([REGULUS, "sweep", "config.toml", "--sweep-dir", "sweep", *SPACE], cwd=folder, check=True, capture_output=True)
    expected = json.loads((folder / "sweep/study.json").read_text())
    journal = folder / "sweep/journal.log"
    study = optuna.load_study(study_name="digits", storage=JournalStorage(JournalFileBackend(str(journal))))
    print(f"Optuna's plots have the values of {check_plots(study, expected)} trials")
    print(f"optuna-dashboard shows {check_dashboard(journal, expected)} trials, and the best of them")
