"""Checks that TensorBoard reads in the event files of runs what their `metrics.jsonl`, `weights.jsonl`, `evaluation.json` and `summary.json` say.

    pip install tensorboard
    cargo build --release
    python3 tests/tensorboard_reads.py target/release/regulus

Records are read with TensorBoard's own reader, which checks their checksums. Then `tensorboard` is started on the loopback interface, with its fast and with its other
loader, and asked for the data of every dashboard. One run is killed, damaged and resumed, another extended, a third is one of a network that denoises.
"""

import base64
import json
import math
import os
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
from tensorboard.backend.event_processing.event_file_loader import EventFileLoader, RawEventFileLoader  # noqa: E402
from tensorboard.compat.proto.event_pb2 import Event  # noqa: E402
from tensorboard.plugins.hparams import metadata as hparams  # noqa: E402
from tensorboard.util import tensor_util  # noqa: E402

from trackers import DENOISE, DIGITS, REGULUS, SHARED, regulus  # noqa: E402

CONFIG = DIGITS.format(samples=1500, channels="8, 12", hidden=32, epochs=12)
TIMES = {"seconds", "images_per_second"}


def float32(value):
    return struct.unpack("<f", struct.pack("<f", value))[0]


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def events(run):
    """All values of the only event file by tag and step; none is there twice."""
    [path] = run.glob("events.out.tfevents.*")
    # The raw loader stops at a record that is not whole, or raises at a wrong checksum.
    count = sum(1 for _ in RawEventFileLoader(str(path)).Load())
    assert count == records(path.read_bytes())
    values = {}
    for event in EventFileLoader(str(path)).Load():
        for value in event.summary.value:
            assert (value.tag, event.step) not in values, f"{value.tag} has step {event.step} twice"
            values[value.tag, event.step] = value
    return values


def records(content):
    at, count = 0, 0
    while at < len(content):
        at += 16 + struct.unpack("<Q", content[at : at + 8])[0]
        count += 1
    assert at == len(content), "the last record is not whole"
    return count


def expected_scalars(run):
    """What `metrics.jsonl` and `summary.json` say, by tag and step."""
    labels = json.loads((run / "manifest.json").read_text())["penalties"]
    known = {"epoch", "step", "split", "lambda", "lambdas", "evidence", *SHARED}
    scalars = {}
    for row in lines(run / "metrics.jsonl"):
        own = {f"{name}/{row['split']}": value for name, value in row.items() if name not in known}
        shared = {name: row.get(name) for name in SHARED}
        if len(row["lambdas"]) == 1:
            shared["lambda"] = row["lambdas"][0]
        else:
            shared |= {f"lambda/{label}": value for label, value in zip(labels, row["lambdas"])}
            for label, update in zip(labels, row.get("evidence") or []):
                shared |= {f"gamma/{label}": update["gamma"], f"next_lambda/{label}": update["lambda"]} if update else {}
        scalars |= {(tag, row["epoch"]): value for tag, value in (own | shared).items() if value is not None}
    summary, evaluation = (json.loads((run / name).read_text()) for name in ("summary.json", "evaluation.json"))
    kept = {name: summary[name] for name in ("penalty", "lambda", "weight_norm_squared", "zero_weights", "zero_channels")}
    for split in ("train", "validation", "test"):
        kept |= {f"{split}/{name}": value for name, value in (summary[split] or {}).items() if name != "count"}
    measures = evaluation["classification"] or {}
    kept |= {f"{evaluation['split']}/{name}": measures[name] for name in ("balanced_accuracy", "macro_f1", "calibration_error") if name in measures}
    return scalars | {(f"kept/{name}", evaluation["epoch"]): value for name, value in kept.items() if value is not None}


def check_file(run):
    """Compares the event file with the other files of a run. Returns the number of compared values."""
    values = events(run)
    plugin = {key: value.metadata.plugin_data.plugin_name for key, value in values.items()}
    of_plugin = lambda name: {key: values[key] for key in values if plugin[key] == name}  # noqa: E731
    scalars = {key: tensor_util.make_ndarray(value.tensor).item() for key, value in of_plugin("scalars").items()}
    expected = {key: float32(value) for key, value in expected_scalars(run).items()}
    assert scalars == expected, sorted(scalars.items() ^ expected.items())[:6]
    histograms = of_plugin("histograms")
    kernels = {
        (f"weights/{name}", row["epoch"]): parameter
        for row in lines(run / "weights.jsonl")
        for name, parameter in row["parameters"].items()
        if "histogram" in parameter
    }
    assert histograms.keys() == kernels.keys()
    for key, kernel in kernels.items():
        left, right, counts = tensor_util.make_ndarray(histograms[key].tensor).transpose().tolist()
        assert counts == kernel["histogram"] and all(one == other for one, other in zip(left[1:], right)), key
        assert math.isclose(left[0], kernel["min"], rel_tol=1e-6) and math.isclose(right[-1], kernel["max"], rel_tol=1e-6), key
    evaluation = json.loads((run / "evaluation.json").read_text())
    images = [(key[0], tensor_util.make_ndarray(value.tensor).tolist()) for key, value in of_plugin("images").items()]
    shown = [sample["image"] for name in ("confident_mistakes", "highest_losses") for sample in evaluation[name]]
    shown += [picture[name] for picture in evaluation["pictures"] for name in ("input", "output", "target")]
    assert sorted(strings[2] for _, strings in images) == sorted(map(base64.b64decode, shown))
    for _, (width, height, file) in images:
        assert (int(width), int(height)) == struct.unpack(">II", file[16:24])
    check_curves(of_plugin("pr_curves"), evaluation)
    check_settings(of_plugin("hparams"), run)
    return len(scalars) + len(histograms) + len(images)


def check_curves(curves, evaluation):
    if not evaluation["classification"]:
        assert not curves
        return
    names, confusion = range(10), evaluation["classification"]["confusion"]
    assert {key[0] for key in curves} == {f"{evaluation['split']}/{name}" for name in names}
    for (tag, _), value in curves.items():
        curve = tensor_util.make_ndarray(value.tensor)
        counts = sum(confusion[int(tag.split("/")[1])])
        positives, negatives = curve[0] + curve[3], curve[1] + curve[2]
        assert curve.shape == (6, 101) and (positives == counts).all() and (negatives == sum(map(sum, confusion)) - counts).all()
        assert curve[5][0] == 1 and (curve[5][:-1] >= curve[5][1:]).all(), "recall falls with the threshold"


def check_settings(found, run):
    content = {key[0]: hparams.parse_session_start_info_plugin_data(value.metadata.plugin_data.content) for key, value in found.items() if "start" in key[0]}
    [(_, start)] = content.items()
    assert start.hparams["data.source"].string_value in ("mnist_mini", "folder")
    assert start.hparams["train.epochs"].number_value == json.loads((run / "summary.json").read_text())["epochs"]
    assert start.hparams["data.shuffle"].bool_value is True
    [end] = [hparams.parse_session_end_info_plugin_data(value.metadata.plugin_data.content) for key, value in found.items() if "end" in key[0]]
    assert end.status == 1


def check_resumed(folder):
    """A run that is killed, whose event file is torn or has epochs after the checkpoint, has the values of one that is not."""
    for name, damage in [("killed", None), ("torn", lambda content: content[:-7]), ("longer", None), ("lost", lambda _: b""), ("other", lambda content: b"x" + content[1:])]:
        run = folder / name
        process = subprocess.Popen([REGULUS, "train", "digits.toml", "--run-dir", name], cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        end = time.monotonic() + 120
        while not (run / "metrics.jsonl").is_file() or len((run / "metrics.jsonl").read_text().splitlines()) < 8:
            assert process.poll() is None and time.monotonic() < end, "it should have been killed before its end"
            time.sleep(0.005)
        process.send_signal(signal.SIGKILL)
        process.wait()
        [path] = run.glob("events.out.tfevents.*")
        if damage:
            path.write_bytes(damage(path.read_bytes()))
        if name == "longer":
            # An epoch that no checkpoint has: what is added here is what the run would have written next.
            [whole] = (folder / "whole").glob("events.out.tfevents.*")
            path.write_bytes(path.read_bytes() + whole.read_bytes()[-2000:])
        regulus(folder, "resume", name)
        (one, other) = (
            {key: tensor_util.make_ndarray(value.tensor).tolist() for key, value in events(folder / run).items() if key[0] not in TIMES}
            for run in ("whole", name)
        )
        assert one == other, name
        check_file(run)


class Server:
    """A TensorBoard on the loopback interface."""

    def __init__(self, folder, *options):
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        program = [sys.executable, "-m", "tensorboard.main", "--logdir", folder, "--host", "127.0.0.1", "--port", str(self.port), *options]
        self.process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(30)

    def get(self, path, body=None, **query):
        url = f"http://127.0.0.1:{self.port}/data/{path}?{urllib.parse.urlencode(query)}"
        request = urllib.request.Request(url, body and json.dumps(body).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            content = answer.read()
            return json.loads(content) if answer.headers["Content-Type"].startswith("application/json") else content

    def wait_for(self, condition, what):
        end = time.monotonic() + 90
        while True:
            try:
                if condition():
                    return
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < end, f"tensorboard does not show {what}"
            time.sleep(0.3)


def check_server(folder, runs, *options):
    with Server(folder, *options) as server:
        ended = lambda: all("kept/penalty" in server.get("plugin/scalars/tags").get(run, {}) for run in runs)  # noqa: E731
        server.wait_for(ended, "the runs")
        compared = 0
        for run in runs:
            expected = {}
            for (tag, step), value in expected_scalars(folder / run).items():
                expected.setdefault(tag, {})[step] = float32(value)
            assert server.get("plugin/scalars/tags")[run].keys() == expected.keys()
            for tag, values in expected.items():
                found = {step: value for _, step, value in server.get("plugin/scalars/scalars", run=run, tag=tag)}
                assert found == values, (tag, found, values)
                compared += len(values)
            # Histograms and images are sampled by the server.
            [*histograms] = server.get("plugin/histograms/tags")[run]
            for tag in histograms:
                assert len(server.get("plugin/histograms/histograms", run=run, tag=tag)) > 1
            for tag in server.get("plugin/images/tags")[run]:
                [image] = server.get("plugin/images/images", run=run, tag=tag, sample=0)
                assert server.get(f"plugin/images/individualImage?{image['query']}&").startswith(b"\x89PNG")
            for tag in server.get("plugin/pr_curves/tags").get(run, []):
                [curve] = server.get("plugin/pr_curves/pr_curves", tag=tag, run=run)[run]
                assert len(curve["precision"]) > 10 and max(curve["recall"]) == 1
            assert any(chart["title"] == "data loss" for chart in server.get("plugin/custom_scalars/layout")["category"][0]["chart"])
        check_hparams(server, folder, runs)
        return compared


def check_hparams(server, folder, runs):
    experiment = server.get("plugin/hparams/experiment", {"experimentName": ""})
    names = {info["name"] for info in experiment["hparamInfos"]}
    assert {"penalty.0.lambda", "optimizer.learning_rate", "model.kind", "seed"} <= names, names
    metrics = [{"name": {"tag": tag, "group": ""}} for tag in ("kept/test/data_loss",)]
    wanted = {"startIndex": 0, "sliceSize": 99, "allowedStatuses": ["STATUS_SUCCESS"], "colParams": [{"metric": metrics[0]["name"]}]}
    groups = server.get("plugin/hparams/session_groups", {"experimentName": ""} | wanted)["sessionGroups"]
    shown = {group["name"].split("/")[0]: {value["name"]["tag"]: value["value"] for value in group["metricValues"]} for group in groups}
    assert set(runs) <= shown.keys(), shown.keys()
    for run in runs:
        loss = json.loads((folder / run / "summary.json").read_text())["test"]["data_loss"]
        assert float32(loss) == shown[run]["kept/test/data_loss"]


def pictures(folder):
    for split, sizes in [("train", [(40, 32), (24, 56)]), ("test", [(30, 30), (36, 24)])]:
        (folder / "pictures" / split).mkdir(parents=True)
        for index, (height, width) in enumerate(sizes):
            pixels = bytes(int(127 + 100 * math.sin((row + 2 * column + 9 * index) / 7)) for row in range(height) for column in range(width))
            (folder / "pictures" / split / f"{index}.pgm").write_bytes(f"P5 {width} {height} 255\n".encode() + pixels)


with tempfile.TemporaryDirectory() as folder:
    folder = Path(folder)
    (folder / "digits.toml").write_text(CONFIG)
    (folder / "denoise.toml").write_text(DENOISE)
    pictures(folder)
    regulus(folder, "train", "digits.toml", "--run-dir", "whole")
    regulus(folder, "train", "denoise.toml", "--run-dir", "denoise")
    count = check_file(folder / "whole") + check_file(folder / "denoise")
    print(f"TensorBoard's reader finds {count} values as the run folders have them")
    check_resumed(folder)
    shutil.copytree(folder / "whole", folder / "extended")
    regulus(folder, "resume", "extended", "--epochs", "14")
    check_file(folder / "extended")
    print("killed, damaged and extended runs have every epoch once")
    for options in (["--load_fast=false"], ["--load_fast=true"]):
        count = check_server(folder, ["whole", "torn", "denoise", "extended"], *options)
        print(f"tensorboard {options[0]} shows {count} scalars, histograms, images, settings and curves")
