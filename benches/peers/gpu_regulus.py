"""Trainings of Regulus on the backends of a build: their speed and their accuracy.

    cargo build --release --features wgpu,vulkan,cuda,autotune,fusion
    python3 benches/peers/gpu_regulus.py FOLDER_WITH_MNIST FOLDER_WITH_CIFAR_10 PROGRAM:BACKEND:NETWORK:BATCH:EPOCHS ...

NETWORK is cnn or resnet9. The first steps are mostly compilation and autotuning, on one core. So the trainings begin side by side, and each is stopped
(SIGSTOP) after so many steps (`STEPS`, 400). Then each runs alone for a while, which gives its speed, and at last all run side by side to their ends.
One line of JSON for each: seconds until it was stopped, images per second and busy cores (while it was alone), training losses, and the test accuracy.
`CUBECL_AUTOTUNE_LEVEL` is `minimal` unless it is set. `TUNE` is the limit of the first part in seconds (200), `ALONE` the time of each training alone (15),
`FINISH` the limit of the last part (300).
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
TUNE, ALONE, FINISH = (float(os.environ.get(name, seconds)) for name, seconds in (("TUNE", 200), ("ALONE", 15), ("FINISH", 300)))
# More than an epoch of ResNet-9 at batch 128, whose last batch is smaller and tuned anew.
STEPS = int(os.environ.get("STEPS", 400))
CONFIGS = {"cnn": REPOSITORY / "configs/mnist_l2.toml", "resnet9": REPOSITORY / "benches/peers/gpu_resnet9.toml"}


class Training:
    def __init__(self, job, folders, scratch):
        program, backend, network, batch, epochs = job.split(":")
        self.batch = int(batch)
        self.run, self.log, self.begun = scratch / "run", scratch / "log", time.perf_counter()
        keys = {"backend.kind": backend, "data.dir": folders[network], "train.batch_size": batch, "train.epochs": epochs}
        options = [word for key, value in keys.items() for word in ("--set", f"{key}={value}")]
        command = [program, "train", CONFIGS[network], *options, "--run-dir", self.run, "--json"]
        environment = {"CUBECL_AUTOTUNE_LEVEL": "minimal", **os.environ}
        with open(self.log, "w") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        self.result = {"job": job}

    def step(self):
        """The last step that its standard output tells."""
        events = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{") and line.endswith("}")]
        return max((event["step"] for event in events if "step" in event), default=0)

    def has_begun(self):
        return not self.is_running() or self.step() >= STEPS

    def is_running(self):
        return self.process.poll() is None

    def send(self, number):
        if self.is_running():
            self.process.send_signal(number)

    def cpu_seconds(self):
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")

    def stop(self):
        self.send(signal.SIGSTOP)
        self.result["seconds_until_stopped"] = round(time.perf_counter() - self.begun, 1)

    def run_alone(self):
        if not self.is_running():
            return
        cpu, begun, seen = self.cpu_seconds(), time.perf_counter(), []
        self.send(signal.SIGCONT)
        while self.is_running() and time.perf_counter() - begun < ALONE:
            time.sleep(0.01)
            step = self.step()
            if not seen or step > seen[-1][0]:
                seen.append((step, time.perf_counter()))
        if self.is_running():
            self.result["cores"] = round((self.cpu_seconds() - cpu) / (time.perf_counter() - begun), 2)
        self.send(signal.SIGSTOP)
        # The first event is from before, and the second is of the time in which it was stopped, too.
        if len(seen) > 3:
            (first, start), (last, end) = seen[1], seen[-1]
            self.result["images_per_second"] = round((last - first) * self.batch / (end - start))

    def report(self):
        if self.is_running():
            self.process.kill()
            self.result["ended"] = False
        self.process.wait()
        file = self.run / "metrics.jsonl"
        rows = [json.loads(line) for line in file.read_text().splitlines() if line.endswith("}")] if file.exists() else []
        losses = [round(row["data_loss"], 4) for row in rows if row["split"] == "train"]
        summary = self.run / "summary.json"
        test = json.loads(summary.read_text())["test"]["accuracy"] if summary.exists() else None
        self.result |= {"train_losses": losses, "test_accuracy": test}
        if self.process.returncode:
            self.result |= {"exit_code": self.process.returncode, "log": self.log.read_text()[-1000:]}
        print(json.dumps(self.result), flush=True)


mnist, cifar10, *jobs = sys.argv[1:]
with tempfile.TemporaryDirectory() as scratch:
    trainings = []
    for index, job in enumerate(jobs):
        folder = Path(scratch) / str(index)
        folder.mkdir()
        trainings.append(Training(job, {"cnn": mnist, "resnet9": cifar10}, folder))
    try:
        begun, waiting = time.perf_counter(), list(trainings)
        while waiting and time.perf_counter() - begun < TUNE:
            for training in [training for training in waiting if training.has_begun()]:
                training.stop()
                waiting.remove(training)
            time.sleep(0.2)
        for training in waiting:
            training.stop()
        for training in trainings:
            training.run_alone()
        for training in trainings:
            training.send(signal.SIGCONT)
        begun = time.perf_counter()
        while any(training.is_running() for training in trainings) and time.perf_counter() - begun < FINISH:
            time.sleep(0.2)
        for training in trainings:
            training.report()
    finally:
        for training in trainings:
            training.send(signal.SIGKILL)
