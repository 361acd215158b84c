"""Runs that benchmark scripts train once and find again: only by everything their figures depend on.

A run's folder is named after a checksum over the resolved config, the data and the program. Beside it, `NAME.json` says all three, and what config, manifest and
summary were when it ended; a run that is not what this file says is refused, and one that was cut off goes on.
"""

import hashlib
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = os.environ.get("REGULUS", "target/release/regulus")
ENDED = ("completed", "early_stopped")


def arguments():
    """The words of the command line before `--`, and those after it, for `regulus train`."""
    words = sys.argv[1:]
    end = words.index("--") if "--" in words else len(words)
    return words[:end], words[end + 1 :]


def checksum(content):
    return hashlib.sha256(content).hexdigest()


def asked(*words):
    """What the program answers on standard output; its complaint ends the script."""
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"`{PROGRAM} {' '.join(map(str, words))}` failed:\n{done.stderr.strip()}")
    return done.stdout


data_checksums = {}


def key_of(config, words):
    """The checksums of the resolved config, the data and the program."""
    # Not `--config-only`: some defaults depend on what is in the data's folder. Lines that start with `#` tell of the parameters.
    lines = asked("check", config, *words).splitlines()
    resolved = "\n".join(line for line in lines if not line.startswith("#")).rstrip() + "\n"
    data = json.dumps(json.loads(asked("check", config, "--json", *words).splitlines()[0])["data"], sort_keys=True)
    if data not in data_checksums:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "resolved.toml"
            file.write_text(resolved)
            data_checksums[data] = json.loads(asked("data", "inspect", file, "--json"))["sha256"]
    return {"config": checksum(resolved.encode()), "data": data_checksums[data], "program": checksum(Path(PROGRAM).read_bytes())}


def files_of(run):
    """The checksums of what says what a run was and gave."""
    return {name: checksum((run / name).read_bytes()) for name in ("config.toml", "manifest.json", "summary.json")}


def refuse(run, problem):
    sys.exit(f"`{run}` {problem}; remove it and `{run}.json`, and it is trained again")


def trained(folder, name, config, sets, extra=()):
    """The summary of the run of `config` with `sets` and the arguments `extra`, from `folder` if it is there already; `name` is for people."""
    words = [word for one in sets for word in ("--set", one)] + list(extra)
    key = key_of(config, words)
    run = Path(folder) / f"{name}-{checksum(json.dumps(key, sort_keys=True).encode())[:16]}"
    record = Path(f"{run}.json")
    if record.exists():
        return kept(run, json.loads(record.read_text()), key)
    if (run / "manifest.json").exists():
        print(f"{run} was cut off and goes on", file=sys.stderr)
        command = ["resume", run]
    else:
        command = ["train", config, "--run-dir", run, *words]
    done = subprocess.run([PROGRAM, *command], stdout=sys.stderr)
    if done.returncode:
        sys.exit(f"`{PROGRAM} {' '.join(map(str, command))}` ended with {done.returncode}")
    matching(run, key)
    record.write_text(json.dumps({"key": key, "files": files_of(run)}, indent=2) + "\n")
    return json.loads((run / "summary.json").read_text())


def kept(run, record, key):
    """The summary of a run that was trained before."""
    if record["key"] != key:
        refuse(run, "was trained with another config, data or program than its name says")
    if not (run / "summary.json").exists():
        refuse(run, "lost its summary")
    if record["files"] != files_of(run):
        refuse(run, "was changed since it was trained")
    matching(run, key)
    print(f"{run} was trained before", file=sys.stderr)
    return json.loads((run / "summary.json").read_text())


def matching(run, key):
    """Refuses a run that is not of the config and the data, or has not ended."""
    manifest = json.loads((run / "manifest.json").read_text())
    if not checksum((run / "config.toml").read_bytes()) == manifest["config_sha256"] == key["config"]:
        refuse(run, "has another config than was asked for")
    if manifest["dataset"]["sha256"] != key["data"]:
        refuse(run, "has other data than there are now")
    if (status := json.loads((run / "summary.json").read_text())["status"]) not in ENDED:
        refuse(run, f"ended as {status}")
