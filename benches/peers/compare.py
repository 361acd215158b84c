"""Regulus against PyTorch, Keras on TensorFlow, JAX and ONNX Runtime, on this machine's CPU, with two threads.

    python3 benches/peers/compare.py FOLDER_WITH_THE_FOUR_MNIST_GZ_FILES [--output FILE.md]

Makes a virtual environment, installs the peers from PyPI, and looks for each peer's best variant in short runs; then every program takes its turn,
round after round, and the table has medians. Build Regulus first: cargo build --release --bins --example inference
"""

import argparse
import datetime
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).parent
PACKAGES = ["numpy", "torch", "tensorflow-cpu", "jax[cpu]", "onnx", "onnxruntime", "intel-openmp"]
TRAINERS = {
    "PyTorch": ("peer_torch.py", ["eager", "eager_iomp", "compile_iomp"]),
    "JAX": ("peer_jax.py", ["scan_conv", "unroll_conv", "unroll_patches"]),
    "Keras": ("peer_keras.py", ["fit_graph", "fit_xla", "fit_graph_reshape"]),
}
PREDICTORS = {
    "PyTorch": ("peer_torch.py", ["eager_iomp", "script", "compile", "script_1"]),
    "JAX": ("peer_jax.py", ["conv", "patches"]),
    "TensorFlow": ("peer_keras.py", ["call_xla", "frozen_graph", "frozen_graph_reshape"]),
    "ONNX Runtime": ("peer_onnx.py", ["2", "1"]),
}
BATCHES, INFERENCES = (32, 128), (1, 1000)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--regulus", type=Path, default=Path("target/release/regulus"))
parser.add_argument("--venv", type=Path, default=Path("target/peers"))
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--output", type=Path)
options = parser.parse_args()
python = options.venv / "bin/python"


def tell(*words):
    print(*words, file=sys.stderr, flush=True)


def finish(command):
    """Runs to the end: the last line of standard output, and the peak memory in MB; None if it failed."""
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as told:
        environment = {**os.environ, "PEER_STARTED": repr(time.time())}
        process = subprocess.Popen(command, stdout=told, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        told.seek(0), errors.seek(0)
        lines = told.read().splitlines()
        if process.returncode != 0 or not lines:
            tell("  failed:", (errors.read().strip().splitlines() or ["no output"])[-1][:150])
            return None
        return lines[-1], usage.ru_maxrss / 1024


def peer(file, task, variant, batch, quick=False):
    done = finish([python, HERE / file, task, variant, str(batch), options.folder, *(["--quick"] if quick else [])])
    return done and {**json.loads(done[0]), "megabytes": done[1]}


def regulus_training(batch, run):
    sets = [f"data.dir={options.folder}", "train.epochs=2", f"train.batch_size={batch}", "backend.threads=2"]
    command = [options.regulus, "train", HERE / "../../configs/mnist_l2.toml", "--json", "--run-dir", run]
    done = finish([*command, *(word for one in sets for word in ("--set", one))])
    return done and {"images_per_second": json.loads(done[0])["summary"]["images_per_second"], "megabytes": done[1]}


def regulus_start(run):
    """Seconds to the end of the first step: the first line after the beginning tells of it."""
    sets = ["--set", f"data.dir={options.folder}", "--set", "train.max_steps=1", "--set", "backend.threads=2"]
    command = [options.regulus, "train", HERE / "../../configs/mnist_l2.toml", "--json", "--run-dir", run, *sets]
    begun = time.time()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        process.stdout.readline(), process.stdout.readline()
        seconds = time.time() - begun
        process.kill()
    return seconds


def best(candidates, task, batch, measure):
    """For each peer, its best variant in a short run."""
    chosen = {}
    for name, (file, variants) in candidates.items():
        found = {variant: peer(file, task, variant, batch, quick=True) for variant in variants}
        tell(name, task, batch, {variant: round(got[measure]) for variant, got in found.items() if got})
        sign = -1 if measure == "us" else 1
        chosen[name] = max((variant for variant in variants if found[variant]), key=lambda variant: sign * found[variant][measure])
    return chosen


if not python.exists():
    subprocess.run([sys.executable, "-m", "venv", options.venv], check=True)
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES], check=True)

train_best = {batch: best(TRAINERS, "train", batch, "images_per_second") for batch in BATCHES}
infer_best = {batch: best(PREDICTORS, "infer", batch, "us" if batch == 1 else "images_per_second") for batch in INFERENCES}
results, versions = {}, {}


def add(name, what, value):
    results.setdefault((name, what), []).append(value)


for number in range(options.rounds):
    with tempfile.TemporaryDirectory() as folder:
        jobs = [(name, "train", batch) for batch in BATCHES for name in ("Regulus", *TRAINERS)]
        jobs += [(name, "infer", batch) for batch in INFERENCES for name in PREDICTORS] + [("Regulus", "infer", 0)]
        jobs += [(name, "start", 32) for name in ("Regulus", *TRAINERS)]
        # Every round begins elsewhere, so that a slow moment does not always meet the same program.
        turn = number * len(jobs) // options.rounds
        for name, task, batch in jobs[turn:] + jobs[:turn]:
            run = Path(folder) / f"{task}{batch}"
            if name == "Regulus" and task == "train":
                got = regulus_training(batch, run)
            elif name == "Regulus" and task == "infer":
                if not (Path(folder) / "network").exists():
                    sets = ["--set", "train.max_steps=20", "--set", "data.train_limit=1000"]
                    config = HERE / "../../configs/quickstart.toml"
                    subprocess.run([options.regulus, "train", config, *sets, "--run-dir", Path(folder) / "network"], check=True, capture_output=True)
                done = finish([options.regulus.parent / "examples/inference", Path(folder) / "network"])
                times = json.loads(done[0])
                add(name, ("infer", 1), times["batch_1_us"])
                add(name, ("infer", 1000), times["batch_1000_images_per_second"])
                continue
            elif name == "Regulus":
                got = {"start_seconds": regulus_start(run)}
            elif task == "infer":
                got = peer(PREDICTORS[name][0], task, infer_best[batch][name], batch)
            else:
                got = peer(TRAINERS[name][0], task, train_best[batch][name], batch)
            shutil.rmtree(run, ignore_errors=True)
            if not got:
                continue
            versions.setdefault(name, got.get("version", ""))
            measure = {"train": "images_per_second", "start": "start_seconds"}.get(task, "us" if batch == 1 else "images_per_second")
            add(name, (task, batch), got[measure])
            if (task, batch) == ("train", 32):
                add(name, ("memory", 32), got["megabytes"])
            tell(f"round {number + 1}: {name} {task} {batch}: {got[measure]:.4g}")

columns = [
    ("training, batch 32, images/s", ("train", 32), max),
    ("batch 128", ("train", 128), max),
    ("inference, batch 1000, images/s", ("infer", 1000), max),
    ("batch 1, µs", ("infer", 1), min),
    ("peak memory, MB", ("memory", 32), min),
    ("first step after, s", ("start", 32), min),
]
medians = {key: statistics.median(values) for key, values in results.items()}


def cell(name, what):
    values = results.get((name, what))
    if not values:
        return ""
    digits = 2 if what[0] == "start" else 0
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


lines = ["| | " + " | ".join(title for title, _, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
for name in ("Regulus", "PyTorch", "JAX", "Keras", "TensorFlow", "ONNX Runtime"):
    lines.append(f"| {name} {versions.get(name, '')} | " + " | ".join(cell(name, what) for _, what, _ in columns) + " |")
ratios = []
for _, what, better in columns:
    peers = [value for (name, key), value in medians.items() if key == what and name != "Regulus"]
    own = medians.get(("Regulus", what))
    ratios.append(f"{own / better(peers) if better is max else better(peers) / own:.2f}" if peers and own else "")
lines.append("| **Regulus, times the best peer** | " + " | ".join(ratios) + " |")
processor = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
lines.append(f"\nMedians of {options.rounds} rounds (lowest–highest), {processor}, {os.cpu_count()} cores, {datetime.date.today()}.")
lines.append(f"Variants: training {train_best}, inference {infer_best}.")
text = "\n".join(lines) + "\n"
print(text)
if options.output:
    options.output.write_text(text)
