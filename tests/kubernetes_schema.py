"""Checks the manifest of `regulus sweep kubernetes` against the published schema of Kubernetes. No cluster runs it.

    pip install kubernetes-validate
    cargo build --release
    python3 tests/kubernetes_schema.py target/release/regulus
"""

import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import kubernetes_validate

REGULUS = Path(sys.argv[1]).resolve()
# The first version in which `backoffLimitPerIndex` is stable, and the newest one of the package.
VERSIONS = ["1.33", kubernetes_validate.latest_version()]


def valid(manifest, version):
    try:
        kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return str(error)
    return None


def broken(manifest, path, value):
    """A copy with another value at `path`."""
    other = copy.deepcopy(manifest)
    place = other
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return other


with tempfile.TemporaryDirectory() as folder:
    regulus = lambda *arguments: subprocess.run([REGULUS, *arguments], cwd=folder, check=True, capture_output=True)
    regulus("sweep", "plan", "quickstart", "--grid", "penalty.0.lambda=0,1", "--seeds", "3", "--sweep-dir", "sweep")
    resources = ["--cpus", "500m", "--memory", "2Gi", "--env", "REGULUS_DATA=/data"]
    for options in [[], resources]:
        volumes = ["--volume-claim", f"results={Path(folder).resolve()}", "--volume-claim", "images=/data"]
        regulus("sweep", "kubernetes", "sweep", "--image", "registry.example/regulus:1", *volumes, *options)
        manifest = json.loads((Path(folder) / "sweep/kubernetes.json").read_text())
        job = manifest["spec"]
        assert (job["completions"], job["completionMode"], job["template"]["spec"]["restartPolicy"]) == (6, "Indexed", "Never"), job
        rules = {rule["action"]: rule["onExitCodes"]["values"] for rule in job["podFailurePolicy"]["rules"] if "onExitCodes" in rule}
        assert rules == {"FailIndex": [2], "Ignore": [75]} and job["backoffLimitPerIndex"] > 0, job
        for version in VERSIONS:
            problem = valid(manifest, version)
            assert problem is None, (version, problem)
            # The schema does find mistakes.
            assert valid(broken(manifest, ["spec", "completions"], "six"), version)
            assert valid(broken(manifest, ["spec", "backoffLimitPerIndexes"], 3), version)
            assert valid(broken(manifest, ["spec", "podFailurePolicy", "rules", 0, "onExitCodes", "values"], ["2"]), version)
print(f"the manifest fits the schema of Kubernetes {' and '.join(VERSIONS)}")
