"""Starting the program, judging how it ended, and counting."""

import collections
import concurrent.futures
import dataclasses
import json
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

HERE = Path(__file__).parent
# Seconds a start of the program may take, and MiB of memory it may use.
TIME_LIMIT, MEMORY_LIMIT = 120, 2048
# The largest number of faults that are reported in full: of those that differ only in numbers and names, and of all. The others are counted.
REPORTED_ALIKE, REPORTED = 2, 20
# Starts at once.
WORKERS = 2


@dataclasses.dataclass
class Ended:
    """How a start of the program ended; a negative code is a signal's."""

    command: str
    code: int
    stdout: str
    stderr: str
    megabytes: float
    hung: bool

    def problem(self, codes):
        """What is wrong with it, where it may end with one of `codes`; None if nothing is."""
        if self.hung:
            return f"it had not ended after {TIME_LIMIT} s"
        if "panicked at" in self.stderr or self.code == 101:
            return "it panicked"
        if self.code < 0:
            return f"signal {-self.code} ended it"
        if self.code not in codes:
            return f"exit code {self.code}; expected {' or '.join(map(str, codes))}"
        if self.code not in (0, 75) and "error:" not in self.stderr:
            return f"exit code {self.code} without a message"
        if self.megabytes > MEMORY_LIMIT:
            return f"it used {self.megabytes:.0f} MiB; allowed are {MEMORY_LIMIT}"
        return None


class Program:
    """The program under test, with a folder to work in."""

    def __init__(self, path, work):
        self.path, self.work = Path(path).resolve(), Path(work)
        # The most memory that a start took, in MiB.
        self.peak = 0.0
        self.shim = self.work / "faults.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.shim, HERE / "faults.c", "-ldl"], check=True)

    def folder(self, name):
        """A new folder of its own."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.work))

    def start(self, arguments, cwd, faults=None, cores=None, output=None):
        """A process that has begun; `faults` are settings of faults.c, `cores` those it may use, `output` two files."""
        environment = {**os.environ, "REGULUS_DATA": str(self.work / "cache"), "NO_COLOR": "1"}
        if faults is not None:
            environment |= {"LD_PRELOAD": str(self.shim), **{f"FAULTS_{key}": str(value) for key, value in faults.items()}}
        stdout, stderr = output or (subprocess.DEVNULL, subprocess.DEVNULL)
        before = os.sched_getaffinity(0)
        try:
            # Those of this thread alone; the process inherits them.
            os.sched_setaffinity(0, cores or before)
            return subprocess.Popen([self.path, *map(str, arguments)], cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr)
        finally:
            os.sched_setaffinity(0, before)

    def run(self, arguments, cwd, faults=None, cores=None, kill_after=None):
        """Runs it to its end, or kills it after so many seconds."""
        with tempfile.TemporaryFile(dir=self.work) as stdout, tempfile.TemporaryFile(dir=self.work) as stderr:
            process = self.start(arguments, cwd, faults, cores, (stdout, stderr))
            hung = threading.Event()

            def stop():
                if kill_after is None:
                    hung.set()
                # Not `process.kill`, which would take the exit code away from the wait below.
                os.kill(process.pid, signal.SIGKILL)

            timer = threading.Timer(TIME_LIMIT if kill_after is None else kill_after, stop)
            timer.start()
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            timer.cancel()
            texts = []
            for file in (stdout, stderr):
                file.seek(0)
                texts.append(file.read().decode(errors="replace"))
        self.peak = max(self.peak, usage.ru_maxrss / 1024)
        settings = "".join(f"FAULTS_{key}={value} " for key, value in (faults or {}).items())
        settings += f"LD_PRELOAD={self.shim} " if faults is not None else ""
        command = f"cd {cwd}; {settings}{self.path} {shlex.join(map(str, arguments))}"
        return Ended(command, process.returncode, *texts, usage.ru_maxrss / 1024, hung.is_set())


class Tally:
    """What was done of one kind, and what went wrong."""

    def __init__(self, kind, keep):
        self.kind, self.keep = kind, Path(keep)
        self.counts, self.faults, self.alike = collections.Counter(), 0, collections.Counter()
        self.panics = self.wrong = 0
        self.lock = threading.Lock()

    def count(self, what, number=1):
        with self.lock:
            self.counts[what] += number

    def note(self, text):
        print(f"{self.kind}: {text}", flush=True)

    def fault(self, what, ended=None, files=(), wrong=False):
        """Reports a fault, and keeps the files and folders that led to it; `wrong`: that a result is not what it should be, and nothing says so."""
        with self.lock:
            self.faults += 1
            self.panics += ended is not None and ("panicked at" in ended.stderr or ended.code == 101)
            self.wrong += wrong
            number = self.faults
            alike = re.sub(r"`[^`]*`|\d+", "", what)
            self.alike[alike] += 1
            reported = sum(min(count, REPORTED_ALIKE) for count in self.alike.values())
            if self.alike[alike] > REPORTED_ALIKE or reported > REPORTED:
                return
        folder = self.keep / f"{self.kind.replace(' ', '-')}-{number}"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        for file in map(Path, files):
            if file.is_dir():
                shutil.copytree(file, folder / file.name, symlinks=True)
            elif file.exists():
                shutil.copy2(file, folder / file.name)
        lines = [f"FAULT of {self.kind}: {what}"]
        if ended:
            lines += [f"  command: {ended.command}", f"  exit code {ended.code}, {ended.megabytes:.0f} MiB"]
            lines += [f"  stderr: {line}" for line in ended.stderr.strip().splitlines()[:6]]
        lines += [f"  kept in {folder}"]
        (folder / "fault.txt").write_text("\n".join(lines) + "\n")
        print("\n".join(lines), flush=True)

    def line(self):
        counts = ", ".join(f"{number:,} {what}" for what, number in self.counts.items())
        return f"{self.kind}: {counts or 'nothing'}; {self.panics} panics, {self.wrong} wrong results, {self.faults} faults in all"


def at_once(work, items):
    """Does `work` on every item, a few at once; an error of this program ends it."""
    with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(work, item) for item in items]:
            done.result()


def stream(seed, *purpose):
    """Random numbers of their own for each purpose."""
    return random.Random(f"{seed} {purpose}")


def share_of(items, share, draw):
    """That share of the items, at least one, in their order."""
    if share >= 1 or not items:
        return items
    return [items[index] for index in sorted(draw.sample(range(len(items)), max(1, round(share * len(items)))))]


def untimed(line):
    """JSON without what a clock says, and the checksum that is over it."""
    value = json.loads(line)
    return json.dumps({key: value[key] for key in value if key not in ("seconds", "images_per_second", "sha256")}, sort_keys=True)


def result_of(run):
    """Everything in a run folder that must not depend on when and how often it was interrupted."""
    result = {}
    for checkpoint in ("last", "best"):
        for name in ("model.safetensors", "trained.safetensors", "optimizer.bpk"):
            file = run / "checkpoints" / checkpoint / name
            result[f"{checkpoint}/{name}"] = file.read_bytes() if file.exists() else None
    for name in ("metrics.jsonl", "summary.json"):
        text = (run / name).read_text() if (run / name).exists() else ""
        result[name] = [untimed(line) for line in ([text] if name == "summary.json" else text.splitlines()) if line]
    return result


def difference(found, expected):
    """The names of what differs."""
    return ", ".join(name for name in expected if found[name] != expected[name])
