"""Exports runs to a real MLflow server on SQLite, and compares what it has with the run folders.

    pip install mlflow
    cargo build --release
    python3 tests/mlflow_server.py target/release/regulus

The server listens on the loopback interface and stores files in a temporary folder. A run is exported while it is interrupted, again when it is complete, once more without a change, and
after it was extended. Others have diverged or denoise. The first has more metrics than a request may have.
"""

import json
import math
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

os.environ |= {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
import mlflow  # noqa: E402
from mlflow import MlflowClient  # noqa: E402

from trackers import DENOISE, DIGITS, REGULUS, SHARED, regulus  # noqa: E402

CONFIG = DIGITS.format(samples=800, channels="4, 6", hidden=16, epochs=60)


def export(folder, run, uri, *arguments):
    return json.loads(regulus(folder, "export", run, "--to", "mlflow", "--uri", uri, "--json", *arguments))


def expected_metrics(run):
    """What `metrics.jsonl` and `summary.json` say, by key and step."""
    labels = [label.replace("*", "_") for label in json.loads((run / "manifest.json").read_text())["penalties"]]
    known = {"epoch", "step", "split", "lambda", "lambdas", "evidence", *SHARED}
    metrics = {}
    # A run that diverges in its first epoch has none.
    rows = (run / "metrics.jsonl").read_text().splitlines() if (run / "metrics.jsonl").exists() else []
    for row in map(json.loads, rows):
        found = {f"{name}/{row['split']}": value for name, value in row.items() if name not in known}
        found |= {name: row.get(name) for name in SHARED}
        if len(labels) == 1:
            found["lambda"] = row["lambda"]
        elif labels:
            found |= {f"lambda.{label}": value for label, value in zip(labels, row["lambdas"])}
            for label, update in zip(labels, row.get("evidence") or []):
                found |= {f"gamma.{label}": update["gamma"], f"next_lambda.{label}": update["lambda"]} if update else {}
        metrics |= {(name, row["epoch"]): value for name, value in found.items() if value is not None}
    summary = json.loads((run / "summary.json").read_text()) if (run / "summary.json").exists() else {}
    if summary.get("kept"):
        epoch = summary[summary["kept"]]["epoch"] if summary.get("last") else summary["epochs"]
        kept = {name: summary[name] for name in ("penalty", "lambda", "weight_norm_squared")}
        for split in ("train", "validation", "test"):
            kept |= {f"{split}/{name}": value for name, value in (summary[split] or {}).items() if name != "count"}
        metrics |= {(f"kept/{name}", epoch): value for name, value in kept.items() if value is not None}
    return metrics


def check(client, folder, name, exported, status):
    """Compares a run on the server with its folder. Returns the number of metrics."""
    local, run = folder / name, client.get_run(exported["run_id"])
    assert (run.info.status, run.info.run_name) == (status, name), run.info
    metrics = {}
    for key in run.data.metrics:
        for metric in client.get_metric_history(run.info.run_id, key):
            assert (key, metric.step) not in metrics, f"{key} has step {metric.step} twice"
            metrics[key, metric.step] = metric.value
    expected = expected_metrics(local)
    assert metrics.keys() == expected.keys(), sorted(metrics.keys() ^ expected.keys())[:9]
    assert all(math.isclose(metrics[key], value, rel_tol=1e-12, abs_tol=1e-300) for key, value in expected.items())
    params = run.data.params
    assert params["name"] == ("pictures" if name == "denoise" else "digits")
    assert float(params["optimizer.learning_rate"]) == (1e30 if name == "diverged" else 0.001) and len(params) == exported["parameters"] > 30
    assert run.data.tags["regulus.dataset"] in ("mnist_mini", "folder") and len(run.data.tags["regulus.run"]) == 32
    files = {file.path for file in client.list_artifacts(run.info.run_id)}
    assert files == set(exported["files"]) and "config.toml" in files, files
    with tempfile.TemporaryDirectory() as target:
        for file in files - {"model.safetensors"}:
            got = Path(client.download_artifacts(run.info.run_id, file, target))
            assert got.read_bytes() == (local / file).read_bytes(), file
        if "model.safetensors" in files:
            regulus(folder, "export", name, "--output", Path(target) / "expected.safetensors")
            got = Path(client.download_artifacts(run.info.run_id, "model.safetensors", target))
            assert got.read_bytes() == (Path(target) / "expected.safetensors").read_bytes()
            check_model(client, run, exported, Path(target))
    return len(metrics)


def check_model(client, run, exported, target):
    [output] = run.outputs.model_outputs
    model = client.get_logged_model(exported["model_id"])
    assert (output.model_id, model.source_run_id, str(model.status)) == (model.model_id, run.info.run_id, "READY"), model
    assert model.params == run.data.params
    kept = {metric.key for metric in model.metrics or []}
    assert kept == {key for key in run.data.metrics if key.startswith("kept/")}, kept
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=f"models:/{model.model_id}", dst_path=str(target)))
    assert (folder / "model.safetensors").read_bytes() == (target / "model.safetensors").read_bytes()
    description = mlflow.models.Model.load(str(folder))
    assert description.flavors["regulus"]["data"] == "model.safetensors" and description.run_id == run.info.run_id


def pictures(folder):
    for split, sizes in [("train", [(40, 32), (24, 56)]), ("test", [(30, 30), (36, 24)])]:
        (folder / "pictures" / split).mkdir(parents=True)
        for index, (height, width) in enumerate(sizes):
            pixels = bytes(int(127 + 100 * math.sin((row + 2 * column + 9 * index) / 7)) for row in range(height) for column in range(width))
            (folder / "pictures" / split / f"{index}.pgm").write_bytes(f"P5 {width} {height} 255\n".encode() + pixels)


def begin(folder):
    """A server, and its address."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    store = folder / "store"
    store.mkdir()
    program = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    program += ["--backend-store-uri", f"sqlite:///{store}/mlflow.db", "--artifacts-destination", f"file://{store}/files"]
    with open(store / "log", "w") as log:
        server = subprocess.Popen(program, cwd=store, stdout=log, stderr=log, start_new_session=True)
    uri = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(f"{uri}/health", timeout=5):
                return server, uri
        except OSError:
            assert server.poll() is None and time.monotonic() < end, (store / "log").read_text()
            time.sleep(0.2)


def check_errors(folder, uri):
    with socket.create_server(("127.0.0.1", 0)) as free:
        nobody = f"http://127.0.0.1:{free.getsockname()[1]}"
    message = regulus(folder, "export", "digits", "--to", "mlflow", "--uri", nobody, code=1)
    assert "can't be reached" in message and "--uri" in message, message
    message = regulus(folder, "export", "digits", "--to", "mlflow", "--uri", "sqlite:///mlflow.db", code=2)
    assert "is not the address of an MLflow server" in message, message
    message = regulus(folder, "export", "digits", "--to", "mlflow", "--uri", f"{uri}/elsewhere", code=1)
    assert "is this an MLflow server?" in message, message
    message = regulus(folder, "export", "digits", "--to", "mlflow", "--uri", uri, "--experiment", "a" * 600, code=1)
    assert "status 400" in message, message


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "digits.toml").write_text(CONFIG)
    (folder / "denoise.toml").write_text(DENOISE)
    pictures(folder)
    process = subprocess.Popen([REGULUS, "train", "digits.toml", "--run-dir", "digits"], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / "digits/metrics.jsonl").is_file() or len((folder / "digits/metrics.jsonl").read_text().splitlines()) < 6:
        assert process.poll() is None
        time.sleep(0.01)
    process.send_signal(signal.SIGTERM)
    assert process.wait() == 75
    regulus(folder, "train", "denoise.toml", "--run-dir", "denoise")
    regulus(folder, "train", "digits.toml", "--run-dir", "diverged", "--set", "optimizer.learning_rate=1e30", code=4)
    server, uri = begin(folder)
    try:
        mlflow.set_tracking_uri(uri)
        client = MlflowClient(uri)
        first = export(folder, "digits", uri)
        assert not first["was_there"] and check(client, folder, "digits", first, "KILLED")
        regulus(folder, "resume", "digits")
        began = time.monotonic()
        second = export(folder, "digits", uri)
        seconds = time.monotonic() - began
        assert second["was_there"] and second["run_id"] == first["run_id"] and second["model_id"] == first["model_id"]
        count = check(client, folder, "digits", second, "FINISHED")
        assert count > 1000, "more than a request may have"
        third = export(folder, "digits", uri)
        assert third == second and check(client, folder, "digits", third, "FINISHED") == count
        # A model that someone deletes is logged again.
        client.delete_logged_model(third["model_id"])
        fourth = export(folder, "digits", uri)
        assert fourth["run_id"] == third["run_id"] and fourth["model_id"] not in (None, third["model_id"]), fourth
        assert str(client.get_logged_model(fourth["model_id"]).status) == "READY"
        print(f"the server has {count} metrics of a run as its folder has them, once; an export takes {seconds:.1f} s")
        # Parameters on the server can't be changed: an extended run is another one.
        regulus(folder, "resume", "digits", "--epochs", "62")
        extended = export(folder, "digits", uri)
        assert not extended["was_there"] and check(client, folder, "digits", extended, "FINISHED") > count
        for run, status in [("denoise", "FINISHED"), ("diverged", "FAILED")]:
            exported = export(folder, run, uri, "--experiment", "other work: λ")
            check(client, folder, run, exported, status)
        [experiment] = client.search_experiments(filter_string="name = 'other work: λ'")
        assert len(client.search_runs([experiment.experiment_id])) == 2
        # The address and the name of the experiment from the environment.
        shutil.copytree(folder / "denoise", folder / "copied")
        line = regulus(folder, "export", "copied", "--to", "mlflow", MLFLOW_TRACKING_URI=uri, MLFLOW_EXPERIMENT_NAME="other work: λ")
        assert line.startswith(f"updated {uri}/#/experiments/{experiment.experiment_id}/runs/"), "a copy is the same run"
        check_errors(folder, uri)
        print("interrupted, extended, diverged, copied and denoising runs are there; mistakes have the documented exit codes")
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)
