"""Training speed of Regulus on the backends of a build.

    cargo build --release --features wgpu,vulkan,cuda,autotune,fusion
    python3 benches/peers/gpu_regulus.py FOLDER_WITH_MNIST FOLDER_WITH_CIFAR_10 PROGRAM:BACKEND:NETWORK:BATCH ...

NETWORK is cnn or resnet9. A first epoch is mostly compilation and autotuning, on one core. So the trainings begin side by side, each is stopped (SIGSTOP)
after its first epoch, and then each runs alone for a while. One line of JSON for each: seconds of the first epoch, images per second (the median of the
whole epochs alone), busy cores, and the training losses. `CUBECL_AUTOTUNE_LEVEL` is `minimal` unless it is set. `TUNE` is the limit of the first part in
seconds (165), `ALONE` the time of each training alone (11).
"""

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TUNE, ALONE = float(os.environ.get("TUNE", 165)), float(os.environ.get("ALONE", 11))
CONFIGS = {"cnn": REPOSITORY / "configs/mnist_l2.toml", "resnet9": REPOSITORY / "benches/peers/gpu_resnet9.toml"}


class Training:
    def __init__(self, job, folders, scratch):
        program, backend, network, batch = job.split(":")
        self.job, self.run, self.log = job, scratch / "run", open(scratch / "log", "w+")
        keys = {"backend.kind": backend, "data.dir": folders[network], "train.batch_size": batch, "train.epochs": 100_000}
        options = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        command = [program, "train", CONFIGS[network], *options, "--run-dir", self.run]
        environment = {"CUBECL_AUTOTUNE_LEVEL": "minimal", **os.environ}
        self.process = subprocess.Popen(command, env=environment, stdout=self.log, stderr=self.log)

    def rows(self):
        file = self.run / "metrics.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []
        return [row for row in rows if row["split"] == "train"]

    def is_running(self):
        return self.process.poll() is None

    def send(self, number):
        if self.is_running():
            self.process.send_signal(number)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def alone(self):
        before, cores = len(self.rows()), None
        if self.is_running():
            cpu, begun = self.cpu_seconds(), time.perf_counter()
            self.send(signal.SIGCONT)
            time.sleep(ALONE)
            if self.is_running():
                cores = round((self.cpu_seconds() - cpu) / (time.perf_counter() - begun), 2)
            self.send(signal.SIGSTOP)
        rows = self.rows()
        # The epoch in which it was stopped does not count.
        speeds = [row["images_per_second"] for row in rows[before + 1 :]]
        result = {"job": self.job, "epochs": len(rows), "images_per_second": round(statistics.median(speeds)) if speeds else None, "cores": cores}
        if rows:
            result |= {"first_epoch_seconds": round(rows[0]["seconds"], 1), "train_losses": [round(row["data_loss"], 4) for row in rows[:4]]}
        if not self.is_running():
            self.log.seek(0)
            result |= {"exit_code": self.process.returncode, "log": self.log.read()[-1000:]}
        return result


mnist, cifar10, *jobs = sys.argv[1:]
with tempfile.TemporaryDirectory() as scratch:
    trainings = []
    for index, job in enumerate(jobs):
        folder = Path(scratch) / str(index)
        folder.mkdir()
        trainings.append(Training(job, {"cnn": mnist, "resnet9": cifar10}, folder))
    begun, waiting = time.perf_counter(), list(trainings)
    while waiting and time.perf_counter() - begun < TUNE:
        for training in [training for training in waiting if training.rows() or not training.is_running()]:
            training.send(signal.SIGSTOP)
            waiting.remove(training)
        time.sleep(0.2)
    for training in waiting:
        training.send(signal.SIGSTOP)
    for training in trainings:
        print(json.dumps(training.alone()), flush=True)
    for training in trainings:
        training.process.kill()
        training.process.wait()
