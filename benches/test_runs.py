"""That a figure is the figure of what was asked for.

    python3 benches/test_runs.py          # Python 3.11; with target/release/regulus, or $REGULUS
"""

import json
import os
import signal
import subprocess
import tempfile
import time
import unittest
from pathlib import Path
from unittest import mock

import runs

CONFIG = 'name = "small"\n[data]\nsource = "mnist_mini"\ntrain_limit = 200\n[model]\nkind = "linear"\n[train]\nepochs = {}\n'


class Runs(unittest.TestCase):
    def setUp(self):
        self.folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.config = self.folder / "small.toml"
        self.config.write_text(CONFIG.format(1))
        # Which commands were run.
        self.commands = []
        run = subprocess.run

        def watched(command, **keys):
            self.commands.append(command[1])
            if command[1] in ("train", "resume"):
                keys |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
            return run(command, **keys)

        self.enterContext(mock.patch.object(runs.subprocess, "run", watched))

    def trained(self, *sets, extra=()):
        self.commands.clear()
        summary = runs.trained(self.folder / "runs", "small-0", self.config, sets, extra)
        return summary, [command for command in self.commands if command in ("train", "resume")]

    def only_run(self):
        (run,) = (path for path in (self.folder / "runs").iterdir() if path.is_dir())
        return run

    def refused(self, words):
        with self.assertRaises(SystemExit) as ended:
            self.trained()
        self.assertIn(words, str(ended.exception))

    def test_a_run_is_trained_once(self):
        first, commands = self.trained("seed=1")
        self.assertEqual(commands, ["train"])
        self.assertEqual(self.trained("seed=1"), (first, []))

    def test_another_config_under_the_same_name_is_another_run(self):
        self.assertEqual(self.trained()[0]["epochs"], 1)
        self.config.write_text(CONFIG.format(2))
        summary, commands = self.trained()
        self.assertEqual((summary["epochs"], commands), (2, ["train"]))
        self.assertEqual(self.trained("seed=5")[1], ["train"])
        self.assertEqual(self.trained(extra=["--set", "train.epochs=3"])[0]["epochs"], 3)

    def test_a_comment_in_the_config_changes_nothing(self):
        self.trained()
        self.config.write_text("# the same\n" + CONFIG.format(1))
        self.assertEqual(self.trained()[1], [])

    def test_another_program_trains_again(self):
        self.trained()
        other = self.folder / "regulus"
        other.write_bytes(Path(runs.PROGRAM).read_bytes() + b"\0")
        other.chmod(0o755)
        with mock.patch.object(runs, "PROGRAM", str(other)):
            self.assertEqual(self.trained()[1], ["train"])

    def test_other_data_are_another_run(self):
        images = self.folder / "images"
        for name, body in (("images", bytes(16 * 9)), ("labels", bytes([0, 1] * 8))):
            sizes = [16, 3, 3] if name == "images" else [16]
            header = bytes([0, 0, 8, len(sizes)]) + b"".join(size.to_bytes(4, "big") for size in sizes)
            (self.folder / name).write_bytes(header + body)
        data = f'source = "idx"\ndir = "{self.folder}"\ntrain_images = "images"\ntrain_labels = "labels"\n'
        self.config.write_text(CONFIG.format(1).replace('source = "mnist_mini"\ntrain_limit = 200\n', data))
        self.trained()
        self.assertEqual(self.trained()[1], [])
        images.write_bytes(images.read_bytes()[:-1] + b"\1")
        runs.data_checksums.clear()
        self.assertEqual(self.trained()[1], ["train"])

    def test_a_changed_run_is_refused(self):
        for name, change, words in (
            ("summary.json", lambda text: text.replace('"epochs": 1', '"epochs": 7'), "was changed since it was trained"),
            ("config.toml", lambda text: text.replace("epochs = 1", "epochs = 7"), "was changed since it was trained"),
            ("manifest.json", lambda text: text.replace("mnist_mini", "mnist_maxi"), "was changed since it was trained"),
        ):
            with self.subTest(name):
                self.trained()
                file = self.only_run() / name
                before = file.read_text()
                self.assertNotEqual(change(before), before)
                file.write_text(change(before))
                self.refused(words)
                file.write_text(before)
        record = Path(f"{self.only_run()}.json")
        value = json.loads(record.read_text())
        value["key"]["data"] = "0"
        record.write_text(json.dumps(value))
        self.refused("another config, data or program than its name says")

    def test_a_run_of_another_config_is_not_taken_over(self):
        self.trained()
        run = self.only_run()
        Path(f"{run}.json").unlink()
        other = self.folder / "other"
        self.config.write_text(CONFIG.format(2))
        subprocess.run([runs.PROGRAM, "train", self.config, "--run-dir", other], check=True)
        for name in ("config.toml", "manifest.json", "summary.json"):
            (run / name).write_bytes((other / name).read_bytes())
        self.config.write_text(CONFIG.format(1))
        self.refused("has another config than was asked for")

    def test_a_run_that_was_cut_off_goes_on(self):
        self.config.write_text(CONFIG.format(400))
        key = runs.key_of(self.config, [])
        run = self.folder / "runs" / f"small-0-{runs.checksum(json.dumps(key, sort_keys=True).encode())[:16]}"
        process = subprocess.Popen([runs.PROGRAM, "train", self.config, "--run-dir", run], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        while not (run / "checkpoints" / "last").exists():
            self.assertIsNone(process.poll(), "the training ended before it could be cut off")
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        self.assertFalse((run / "summary.json").exists())
        summary, commands = self.trained()
        self.assertEqual((summary["epochs"], commands), (400, ["resume"]))


if __name__ == "__main__":
    os.environ.setdefault("NO_COLOR", "1")
    unittest.main()
