"""What the checks of trackers share: the program, the experiments, and the columns of `metrics.jsonl` that do not depend on a split."""

import os
import subprocess
import sys
from pathlib import Path

REGULUS = Path(sys.argv[1]).resolve()
DIGITS = """
name = "digits"
[data]
source = "mnist_mini"
train_limit = {samples}
validation = 0.3
[model]
channels = [{channels}]
hidden = {hidden}
[[penalty]]
kind = "l2"
scope = "conv*.weight"
lambda = 0.5
[[penalty]]
kind = "l2"
scope = "dense*.weight"
lambda = 2
schedule = {{ kind = "evidence", burn_in_epochs = 1, every_epochs = 2 }}
[train]
epochs = {epochs}
batch_size = 16
"""
DENOISE = """
name = "pictures"
[task]
kind = "denoise"
sigma = 25
patch_size = 12
stride = 6
[data]
source = "folder"
dir = "pictures"
image_channels = 1
[model]
kind = "dncnn"
depth = 3
width = 6
[train]
epochs = 2
"""
SHARED = ["weight_norm_squared", "zero_weights", "zero_channels", "gamma", "log_evidence", "learning_rate", "seconds", "images_per_second"]


def regulus(folder, *arguments, code=0, **environment):
    """Runs the program. Returns what it prints, or its messages where an error is expected."""
    ran = subprocess.run([REGULUS, *map(str, arguments)], cwd=folder, capture_output=True, text=True, env=os.environ | environment)
    assert ran.returncode == code, f"{arguments}: {ran.returncode}\n{ran.stderr}"
    return ran.stdout if code == 0 else ran.stderr
