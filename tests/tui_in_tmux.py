"""Runs `regulus train --tui` in tmux and reads its screen: the numbers are those of `metrics.jsonl`, and the terminal is given back whatever ends the run.

    cargo build --release
    python3 tests/tui_in_tmux.py target/release/regulus [FOLDER FOR SCREENS]

It needs tmux (Debian: `apt-get install tmux`). Screens of 60, 80 and 160 columns are read while networks train; with a folder as second argument they are left there.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

REGULUS = Path(sys.argv[1]).resolve()
SCREENS = Path(sys.argv[2]) if len(sys.argv) > 2 else None
CONFIG = """
name = "digits"
[data]
source = "mnist_mini"
train_limit = 1500
validation = 0.3
[model]
channels = [8, 12]
hidden = 32
[[penalty]]
kind = "l2"
lambda = 0.5
[train]
epochs = 100000
batch_size = 16
"""
SIZES = {60: 24, 80: 24, 160: 45}
PATIENCE = 120


class Terminal:
    """A shell in a tmux of its own."""

    def __init__(self, folder, width, height):
        self.folder, self.name = folder, f"regulus-{os.getpid()}-{width}"
        environment = {key: value for key, value in os.environ.items() if key not in ("TMUX", "NO_COLOR")}
        start = ["tmux", "-L", self.name, "-f", "/dev/null", "new-session", "-d", "-x", str(width), "-y", str(height), "sh"]
        subprocess.run(start, check=True, cwd=folder, env=environment | {"PS1": "$ ", "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8"})
        self.tmux("set", "-g", "status", "off")
        self.tmux("resize-window", "-x", str(width), "-y", str(height))

    def tmux(self, *arguments):
        return subprocess.run(["tmux", "-L", self.name, *arguments], check=True, capture_output=True, text=True).stdout

    def begin(self, *arguments):
        """Types a command. What it leaves is in `code`; the modes of the terminal before and after it in `before` and `after`."""
        for left in ("code", "before", "after"):
            (self.folder / left).unlink(missing_ok=True)
        command = " ".join(str(argument) for argument in arguments)
        self.tmux("send-keys", "-l", f"clear; stty -g > before; {REGULUS} {command}; echo $? > code.new; stty -g > after; mv code.new code")
        self.tmux("send-keys", "Enter")

    def keys(self, *keys):
        self.tmux("send-keys", *keys)

    def screen(self):
        return self.tmux("capture-pane", "-p").split("\n")

    def is_own_screen(self):
        return self.tmux("display", "-p", "#{alternate_on}").strip() == "1"

    def wait(self, what, holds):
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            found = holds()
            if found:
                return found
            time.sleep(0.05)
        raise AssertionError(f"{what} did not happen in {PATIENCE} s:\n" + "\n".join(self.screen()))

    def end(self, expected):
        """Waits for the end of the command: its code, and that the terminal is as before."""
        self.wait("the end", lambda: (self.folder / "code").exists())
        code = int((self.folder / "code").read_text())
        text = "\n".join(self.screen())
        assert code == expected, f"exit code {code}, not {expected}:\n{text}"
        assert not self.is_own_screen(), "the alternate screen is left"
        assert self.tmux("display", "-p", "#{cursor_flag}").strip() == "1", "the cursor is shown"
        assert (self.folder / "before").read_text() == (self.folder / "after").read_text(), "the modes of the terminal are as before"
        return text

    def close(self):
        self.tmux("kill-server")


def rows_of(run):
    """The rows of the metrics by epoch and split. The last line may be half written."""
    rows = {}
    for line in (run / "metrics.jsonl").read_text().splitlines():
        try:
            row = json.loads(line)
        except json.JSONDecodeError:
            break
        rows[row["epoch"], row["split"]] = row
    return rows


def is_rounding(shown, value):
    """Whether a shown number is a rounding of the value, in percent where it says so."""
    number, _, unit = shown.replace(",", "").partition(" ")
    factor = 100 if unit == "%" else 1
    digits, _, exponent = number.partition("e")
    decimals = len(digits.partition(".")[2])
    return abs(float(number) - factor * value) <= 0.5001 * 10.0 ** (int(exponent or 0) - decimals)


def table(screen):
    """The table of measures: the epoch and the columns of each split by their titles. None if it is not whole."""
    for index, line in enumerate(screen):
        found = re.match(r"epoch (\d+)  +data loss", line)
        if found:
            titles = re.split(r"  +", line.strip())[1:]
            splits = {}
            for row in screen[index + 1 : index + 3]:
                name, *values = re.split(r"  +", row.strip())
                splits[name] = dict(zip(titles, values))
            return (int(found[1]), splits, "   ".join(screen[index + 3 : index + 5])) if set(splits) == {"train", "validation"} else None
    return None


def check_numbers(terminal, run, least):
    """Compares the numbers on the screen with the files, from epoch `least` on."""

    def numbers():
        # tmux may read a frame in pieces, and be looked at between two. Half a frame in two looks, one after the other, is less likely by far.
        looks = [table(terminal.screen()) for _ in range(2)]
        shown = looks[0] if looks[0] == looks[1] else None
        return shown if shown and shown[0] >= least else None

    epoch, splits, penalties = terminal.wait(f"epoch {least}", numbers)
    rows = rows_of(run)
    columns = {"data loss": "data_loss", "accuracy": "accuracy", "penalty": "penalty", "‖w‖²": "weight_norm_squared", "images/s": "images_per_second"}
    checked = 0
    for split, shown in splits.items():
        for title, text in shown.items():
            assert is_rounding(text, rows[epoch, split][columns[title]]), f"{split} {title} is {text}, in the file {rows[epoch, split]}"
            checked += 1
    assert checked == 9, f"{checked} numbers: {splits}"
    assert penalties.startswith("λ 0.5 (l2 on kernels)   learning rate 0.001"), penalties
    losses = {of: row["data_loss"] for (of, split), row in rows.items() if split == "validation" and of <= epoch}
    best = re.search(r"best epoch (\d+): data loss ([0-9.e-]+)", penalties)
    assert int(best[1]) == min(losses, key=losses.get) and is_rounding(best[2], min(losses.values())), f"{penalties}: {losses}"
    return epoch


def check_screen(terminal, width, height, name):
    screen = terminal.screen()
    if SCREENS:
        SCREENS.mkdir(parents=True, exist_ok=True)
        (SCREENS / f"{name}.txt").write_text("\n".join(screen))
        (SCREENS / f"{name}.ansi").write_text(terminal.tmux("capture-pane", "-p", "-e"))
    text = "\n".join(screen)
    assert screen[0].startswith("digits · mnist_mini · flex"), text
    assert re.match(r"epoch \d+/100000 [━╌]+ +\d+ %, .+ left", screen[1]), text
    assert re.search(r"^now: ", screen[2]), text
    assert screen[height - 1].startswith("q or Ctrl-C: save and quit"), text
    titles = [title for title in ("data loss  ─ train  • validation", "penalty", "accuracy, %") if title in text]
    assert len(titles) >= 2, text
    assert len(re.findall("[⠁-⣿]", text)) > 10 and re.search(r" epoch \d+$", text, re.MULTILINE), "there are curves:\n" + text
    assert all(len(line) <= width for line in screen), text


def check_training(folder, width, height):
    terminal = Terminal(folder, width, height)
    try:
        run = folder / f"run{width}"
        terminal.begin("train", "digits.toml", "--run-dir", run.name, "--tui")
        check_numbers(terminal, run, 4)
        check_screen(terminal, width, height, f"train-{width}")
        assert terminal.is_own_screen()
        # Another size is taken at once.
        terminal.tmux("resize-window", "-x", str(width + 30), "-y", str(height + 5))
        terminal.wait("the new size", lambda: terminal.screen()[height + 4].startswith("q or Ctrl-C"))
        check_numbers(terminal, run, 5)
        terminal.tmux("resize-window", "-x", "20", "-y", "6")
        terminal.wait("a tiny size", lambda: terminal.screen()[5].startswith("q or Ctrl-C"))
        terminal.tmux("resize-window", "-x", str(width), "-y", str(height))
        terminal.keys("q")
        text = terminal.end(75)
        # The line that all is being saved is there if that takes a moment; see `check_ends`.
        assert "interrupted after saving" in text.replace("\n", " "), text
        assert json.loads((run / "summary.json").read_text())["status"] == "interrupted"
        last = max(epoch for epoch, _ in rows_of(run))
        terminal.begin("resume", run.name, "--tui")
        assert check_numbers(terminal, run, last + 1) > last
        check_screen(terminal, width, height, f"resume-{width}")
        terminal.keys("C-c")
        terminal.end(75)
    finally:
        terminal.close()


def check_ends(folder):
    """The terminal is given back whatever ends the run."""
    terminal = Terminal(folder, 100, 30)
    try:
        terminal.begin("train", "digits.toml", "--run-dir", "whole", "--tui", "--set", "train.epochs=2")
        text = terminal.end(0)
        summary = json.loads((folder / "whole/summary.json").read_text())
        assert f"{summary['test']['data_loss']:.4f}" in text and "run folder: whole" in text, text
        sets = ["--set", "optimizer.kind=sgd", "--set", "optimizer.learning_rate=1e30"]
        terminal.begin("train", "digits.toml", "--run-dir", "diverged", "--tui", *sets)
        assert "error: " in terminal.end(4)
        for name, sent in (("terminated", signal.SIGTERM), ("interrupted", signal.SIGINT)):
            terminal.begin("train", "digits.toml", "--run-dir", name, "--tui")
            check_numbers(terminal, folder / name, 1)
            shell = int(terminal.tmux("display", "-p", "#{pane_pid}"))
            child = subprocess.run(["pgrep", "-P", str(shell)], check=True, capture_output=True, text=True).stdout.split()
            os.kill(int(child[0]), sent)
            assert "interrupted after saving" in terminal.end(75)
        # A step that takes long: the first Ctrl-C gives the terminal back, the second one ends the program.
        slow = ["train.batch_size=full", "model.channels=[64, 64]", "model.hidden=512", "data.train_limit=5000", "backend.kernels=stock"]
        terminal.begin("train", "digits.toml", "--run-dir", "slow", "--tui", *[f"--set '{set}'" for set in slow])
        terminal.wait("the screen", terminal.is_own_screen)
        terminal.keys("C-c")
        terminal.wait("the end of the screen", lambda: not terminal.is_own_screen())
        terminal.wait("a line that says so", lambda: "stopping as soon as all is saved" in " ".join(terminal.screen()))
        terminal.keys("C-c")
        terminal.wait("the end", lambda: (folder / "code").exists())
        code = int((folder / "code").read_text())
        assert code in (75, 130), code
        terminal.end(code)
    finally:
        terminal.close()


with tempfile.TemporaryDirectory() as work:
    work = Path(work)
    (work / "digits.toml").write_text(CONFIG)
    for width, height in SIZES.items():
        check_training(work, width, height)
        print(f"{width} columns: the numbers on the screen are those of the metrics")
    check_ends(work)
    print("the terminal is given back after the end, a divergence, SIGTERM, SIGINT and Ctrl-C")
