"""Deep networks on a CPU: `regulus` and other programs in turns.

    pip install torch                                                # and for some of the words below
    pip install torchvision efficientnet-lite-pytorch==0.1.0 tensorflow-cpu onnx onnxscript onnxruntime
    cargo build --release --bins --example inference
    python3 benches/peers/deep.py resnet9 FOLDER_WITH_CIFAR_10 [--compile] [--bf16] [--keras] [--onnx] [--rounds 3] [--batch 128] [--threads 2] [--float32] [--avx2]
    python3 benches/peers/deep.py resnet18 FOLDER_OF_PHOTOGRAPHS [...]
    python3 benches/peers/deep.py efficientnet_lite0 FOLDER_OF_PHOTOGRAPHS [...]

A folder of photographs holds a folder of image files for each class, under `train`: such as `balanced` of benches/photographs/make.py. resnet9 has images
of 32x32, the first ones of `data_batch_1.bin` of CIFAR-10; resnet18 of 64x64, efficientnet_lite0 of 128x128. All layers are trained from random weights by
SGD with Nesterov momentum and L2, three epochs, the first one uncounted. Inference is from numbers to logits. Every program runs in a process of its own.
Prints the medians of the rounds in images/s, the ratios to the best float32 of the others, and the largest resident memory: of `regulus` with the
measurement at the end, of the others of the training alone. All hold as many images in training, but for the folder of photographs, which `regulus` reads
whole: bytes in `regulus`, random float32 in the others.

PyTorch: eager, or with `--compile` torch.compile too; channels_last or not; float32, or bfloat16 by autocast. `--bf16`: `regulus` with
`backend.precision = "bf16"`, too, which needs AVX-512 for bfloat16. `--keras` (of resnet9): Keras on TensorFlow, graph and XLA, float32 and bfloat16. `--onnx`: ONNX Runtime,
which infers only. `--float32`: nothing in bfloat16. `--avx2`: every program uses AVX2 at most, by its own environment variable.
"""

import argparse
import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
# Of each network: where the images are from, their side, how many are trained on, the batch, how many are inferred at once.
NETWORKS = {
    "resnet9": ("idx", 32, 1280, 128, 1000),
    "resnet18": ("folder", 64, 896, 128, 128),
    "efficientnet_lite0": ("folder", 128, 320, 32, 32),
}
AVX2 = {"REGULUS_SIMD": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "MKL_ENABLE_INSTRUCTIONS": "AVX2", "XLA_FLAGS": "--xla_cpu_max_isa=AVX2"}
CONFIG = """name = "deep"
[data]
source = "{source}"
dir = "{folder}"
train_limit = {images}
{files}
[model]
kind = "{network}"
[[penalty]]
kind = "l2"
lambda = 1
[optimizer]
kind = "sgd"
learning_rate = 0.01
momentum = 0.9
nesterov = true
[train]
epochs = 3
batch_size = {batch}
[backend]
threads = {threads}
precision = "{precision}"
"""


def run(command):
    """What a command prints, and its peak of resident memory in MB."""
    with tempfile.TemporaryFile("w+") as errors, subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=errors, text=True) as child:
        printed = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode:
            errors.seek(0)
            sys.exit(f"{command}: {errors.read()}")
    return printed, usage.ru_maxrss * 1024 / 1e6


def write_idx(folder, count, work):
    """Writes the first images of CIFAR-10, `[label, channel, row, column]` in bytes, as IDX files. Returns the lines of a config that name them."""
    records = (folder / "data_batch_1.bin").read_bytes()[: count * 3073]
    images = bytearray(count * 3072)
    for number in range(count):
        for channel in range(3):
            plane = records[number * 3073 + 1 + channel * 1024 :][:1024]
            images[number * 3072 + channel : (number + 1) * 3072 : 3] = plane
    (work / "images.idx").write_bytes(struct.pack(">5I", 0x804, count, 32, 32, 3) + images)
    (work / "labels.idx").write_bytes(struct.pack(">2I", 0x801, count) + records[::3073])
    return 'train_images = "images.idx"\ntrain_labels = "labels.idx"'


def regulus(settings, folder):
    with tempfile.TemporaryDirectory() as work:
        config, trained = Path(work) / "config.toml", Path(work) / "run"
        source, side = NETWORKS[settings["network"]][:2]
        if source == "idx":
            files, folder = write_idx(folder, settings["images"], Path(work)), work
        else:
            files = f"image_size = [{side}, {side}]\nimage_channels = 3"
        precision = "bf16" if settings["half"] else "f32"
        config.write_text(CONFIG.format(**settings, source=source, folder=folder, files=files, precision=precision))
        _, peak = run([REPOSITORY / "target/release/regulus", "train", config, "--run-dir", trained, "--no-report", "--no-tensorboard"])
        rows = [json.loads(line) for line in (trained / "metrics.jsonl").read_text().splitlines()]
        speeds = [row["images_per_second"] for row in rows if row["split"] == "train"]
        printed, _ = run([REPOSITORY / "target/release/examples/inference", trained, settings["infer"]])
        inference = json.loads(printed)[f"batch_{settings['infer']}_images_per_second"]
        return {"training": statistics.median(speeds[1:]), "inference": inference, "peak": peak}


def measure(settings, folder):
    if settings["peer"] == "regulus":
        return regulus(settings, folder)
    return json.loads(run([sys.executable, Path(__file__).parent / "deep_peer.py", json.dumps(settings)])[0].splitlines()[-1])


def programs_of(options):
    """Name and settings of each program."""
    _, side, images, batch, infer = NETWORKS[options.network]
    batch = options.batch or batch
    common = {"network": options.network, "batch": batch, "images": max(images, 4 * batch), "side": side, "infer": infer, "threads": options.threads}
    halves = {"float32": False} if options.float32 else {"float32": False, "bfloat16": True}
    found = {f"Regulus, {name}": {"peer": "regulus", "half": half} for name, half in halves.items() if not half or options.bf16}
    for compiled in (False, True) if options.compile else (False,):
        for last in (False, True):
            for name, half in halves.items():
                title = f"PyTorch, {'compiled' if compiled else 'eager'}{', channels_last' if last else ''}, {name}"
                found[title] = {"peer": "torch", "compiled": compiled, "channels_last": last, "half": half}
    if options.keras:
        for compiled in (False, True):
            for name, half in halves.items():
                found[f"Keras, {'XLA' if compiled else 'graph'}, {name}"] = {"peer": "keras", "compiled": compiled, "half": half}
    if options.onnx:
        found["ONNX Runtime, float32"] = {"peer": "onnx"}
    return {name: {**common, **own} for name, own in found.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network", choices=NETWORKS)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--batch", type=int)
    parser.add_argument("--threads", type=int, default=2)
    for option in ("--compile", "--bf16", "--keras", "--onnx", "--avx2", "--float32"):
        parser.add_argument(option, action="store_true")
    options = parser.parse_args()
    if options.network == "resnet9" and (options.batch or 0) > 2500:
        parser.error("--batch is at most 2500: four of them are trained on, out of the 10,000 images of data_batch_1.bin")
    if options.keras and options.network != "resnet9":
        parser.error("--keras has resnet9 alone")
    if options.avx2 and (options.onnx or options.bf16 or options.compile):
        parser.error("--avx2 is not for --onnx, which has no such setting, nor --bf16, which needs AVX-512, nor --compile, which fails under these variables (PyTorch 2.15)")
    if options.avx2:
        os.environ.update(AVX2)
    programs, found = programs_of(options), {}
    for number in range(options.rounds):
        for name in list(programs) if number % 2 == 0 else list(programs)[::-1]:
            found.setdefault(name, []).append(measure(programs[name], options.folder.resolve()))
            print(f"round {number + 1}: {name}: {found[name][-1]}", file=sys.stderr, flush=True)
    keys = ("training", "inference", "peak")
    medians = {name: {key: statistics.median(one[key] for one in found[name]) for key in keys if key in found[name][0]} for name in programs}
    peers = [values for name, values in medians.items() if not name.startswith("Regulus") and name.endswith("float32")]
    best = {key: max(values[key] for values in peers if key in values) for key in ("training", "inference")}
    settings = next(iter(programs.values()))
    print(f"| {options.network}, batch {settings['batch']}, {options.threads} threads | training | to the best float32 | inference at {settings['infer']} | to the best float32 | memory, MB |")
    print("|---|---|---|---|---|---|")
    for name, values in medians.items():
        cells = [f"{values[key]:.0f} | {values[key] / best[key]:.2f}" if key in values else "— | —" for key in best]
        print(f"| {name} | {' | '.join(cells)} | {values.get('peak', 0) and format(values['peak'], '.0f') or '—'} |")


main()
