"""Regulus against PyTorch, Keras on TensorFlow, JAX and ONNX Runtime, on this machine's CPU, with two threads.

    python3 benches/peers/compare.py FOLDER_WITH_THE_FOUR_MNIST_GZ_FILES [--output FILE.md]

Makes a virtual environment and installs the peers from PyPI. In the first round every variant of every peer takes its turn, in the later ones the two that
were best; a peer is represented by the variant with the best median, and a second table has all of them. Build Regulus first: cargo build --release --bins --example inference
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
PACKAGES = ["numpy", "torch", "tensorflow-cpu", "jax[cpu]", "onnx", "onnxruntime"]
TRAINERS = {
    "PyTorch": ("peer_torch.py", ["eager", "eager_iomp", "eager_iomp_decay", "compile_iomp"]),
    "JAX": ("peer_jax.py", ["step_conv", "step_patches", "scan_patches", "unroll_patches"]),
    "TensorFlow": ("peer_keras.py", ["fit_graph", "fit_xla", "fit_xla_reshape"]),
}
PREDICTORS = {
    "PyTorch": ("peer_torch.py", ["eager", "eager_iomp", "script", "compile_iomp"]),
    "JAX": ("peer_jax.py", ["conv", "patches"]),
    "TensorFlow": ("peer_keras.py", ["call_graph", "call_xla", "call_xla_reshape", "frozen_graph"]),
    "ONNX Runtime": ("peer_onnx.py", ["2", "1"]),
}
BATCHES, INFERENCES = (32, 128), (1, 1000)

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("folder", type=Path)
parser.add_argument("--regulus", type=Path, default=Path("target/release/regulus"))
parser.add_argument("--venv", type=Path, default=Path("target/peers"))
parser.add_argument("--rounds", type=int, default=3)
parser.add_argument("--quick", action="store_true", help="200 steps a training instead of an epoch, to try the script out")
parser.add_argument("--tasks", default="train,infer,start", help="some of train,infer,start")
parser.add_argument("--output", type=Path)
options = parser.parse_args()
python = options.venv / "bin/python"


def tell(*words):
    print(*words, file=sys.stderr, flush=True)


def finish(command):
    """Runs to the end: the last line of standard output, and the peak memory in MB; None if it failed or took too long."""
    with tempfile.TemporaryFile("w+") as errors, tempfile.TemporaryFile("w+") as output:
        environment = {**os.environ, "PEER_STARTED": repr(time.time())}
        process = subprocess.Popen(["timeout", "300", *command], stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        output.seek(0), errors.seek(0)
        lines = output.read().splitlines()
        if process.returncode != 0 or not lines:
            tell("  failed:", (errors.read().strip().splitlines() or [f"exit {process.returncode}"])[-1][:150])
            return None
        return lines[-1], usage.ru_maxrss / 1024


def peer(file, task, variant, batch):
    done = finish([python, HERE / file, task, variant, str(batch), options.folder, *(["--quick"] if options.quick else [])])
    return done and {**json.loads(done[0]), "megabytes": done[1]}


def regulus_training(batch, run):
    sets = [f"data.dir={options.folder}", "train.epochs=2", f"train.batch_size={batch}", "backend.threads=2"]
    sets += ["train.max_steps=400"] if options.quick else []
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
    return {"start_seconds": seconds}


def regulus_inference(folder):
    """Both batches at once: of the network of a short training."""
    run = folder / "network"
    sets = ["--set", "train.max_steps=20", "--set", "data.train_limit=1000", "--set", "backend.threads=2"]
    if not run.exists() and not finish([options.regulus, "train", HERE / "../../configs/quickstart.toml", "--json", "--run-dir", run, *sets]):
        return None
    done = finish([options.regulus.parent / "examples/inference", run])
    return done and json.loads(done[0])


if not python.exists():
    subprocess.run([sys.executable, "-m", "venv", options.venv], check=True)
    intel = ["intel-openmp"] if os.uname().machine == "x86_64" else []
    subprocess.run([python, "-m", "pip", "install", "-q", *PACKAGES, *intel], check=True)

# (program, variant, what) -> its measures, one a round.
results, versions = {}, {}
MEASURES = {"train": "images_per_second", "start": "start_seconds", "memory": "megabytes"}


def add(name, variant, task, batch, got):
    if not got:
        return
    measure = "us" if (task, batch) == ("infer", 1) else MEASURES.get(task, "images_per_second")
    results.setdefault((name, variant, (task, batch)), []).append(got[measure])
    tell(f"{name} {variant} {task} {batch}: {got[measure]:.4g}")
    if task == "train" and batch == 32:
        add(name, variant, "memory", 32, got)
    if got.get("version"):
        versions[name] = got["version"]


jobs = [("Regulus", "", "regulus", task, batch) for task, batch in [*(("train", batch) for batch in BATCHES), ("infer", 0), ("start", 32)]]
for name, (file, variants) in TRAINERS.items():
    jobs += [(name, variant, file, "train", batch) for variant in variants for batch in BATCHES]
    jobs += [(name, variant, file, "start", 32) for variant in variants]
for name, (file, variants) in PREDICTORS.items():
    jobs += [(name, variant, file, "infer", batch) for variant in variants for batch in INFERENCES]
columns = [
    ("training, batch 32, images/s", ("train", 32), max),
    ("batch 128", ("train", 128), max),
    ("inference, batch 1000, images/s", ("infer", 1000), max),
    ("batch 1, µs", ("infer", 1), min),
    ("peak memory, MB", ("memory", 32), min),
    ("first step after, s", ("start", 32), min),
]


def spread(values, digits):
    return f"{statistics.median(values):,.{digits}f} ({min(values):,.{digits}f}–{max(values):,.{digits}f})"


def medians(name, what):
    """The median of each variant."""
    return {key[1]: statistics.median(values) for key, values in results.items() if key[0] == name and key[2] == what}


def among_best(name, variant, task, batch):
    """Whether a variant is one of its peer's two best so far."""
    better = next(better for _, what, better in columns if what == (task, batch))
    found = medians(name, (task, batch))
    return not found or variant in sorted(found, key=found.get, reverse=better is max)[:2]


jobs = [job for job in jobs if job[3] in options.tasks.split(",")]
# Regulus is measured twice a round, so that it meets as many moods of the machine as its peers together do.
for number in range(options.rounds):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        turn = number * len(jobs) // options.rounds
        order = jobs[turn:] + jobs[:turn]
        half = len(order) // 2
        own = [job for job in jobs if job[0] == "Regulus"]
        for name, variant, file, task, batch in [*order[:half], *own, *order[half:]]:
            run = folder / f"{task}{batch}"
            if name != "Regulus" and number and not among_best(name, variant, task, batch):
                continue
            if name != "Regulus":
                add(name, variant, task, batch, peer(file, task, variant, batch))
            elif task == "infer":
                got = regulus_inference(folder)
                add(name, variant, task, 1, got and {"us": got["batch_1_us"]})
                add(name, variant, task, 1000, got and {"images_per_second": got["batch_1000_images_per_second"]})
            else:
                add(name, variant, task, batch, regulus_training(batch, run) if task == "train" else regulus_start(run))
            shutil.rmtree(run, ignore_errors=True)

names = ["Regulus", *dict.fromkeys([*TRAINERS, *PREDICTORS])]
lines = ["| | " + " | ".join(title for title, _, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
for name in names:
    cells = []
    for _, what, better in columns:
        found = medians(name, what)
        variant = better(found, key=found.get) if found else None
        cells.append(spread(results[name, variant, what], 2 if what[0] == "start" else 0) if found else "")
    lines.append(f"| {name} {versions.get(name, '')} | " + " | ".join(cells) + " |")
ratios = []
for _, what, better in columns:
    own, peers = medians("Regulus", what).get(""), [value for name in names[1:] for value in medians(name, what).values()]
    ratios.append(f"{own / better(peers) if better is max else better(peers) / own:.2f}" if peers and own else "")
lines.append("| **Regulus, times the best peer** | " + " | ".join(ratios) + " |")
processor = next((line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "")
lines.append(f"\nMedians of {options.rounds} rounds (lowest–highest), {processor}, {os.cpu_count()} cores, {datetime.date.today()}.\n")
lines += ["| variant | " + " | ".join(title for title, _, _ in columns) + " |", "|---" * (len(columns) + 1) + "|"]
for name, variant in dict.fromkeys((name, variant) for name, variant, *_ in jobs if variant):
    found = [results.get((name, variant, what)) for _, what, _ in columns]
    cells = [spread(values, 2 if what[0] == "start" else 0) if values else "" for values, (_, what, _) in zip(found, columns)]
    lines.append(f"| {name}, {variant} | " + " | ".join(cells) + " |")
text = "\n".join(lines) + "\n"
print(text)
if options.output:
    options.output.write_text(text)
