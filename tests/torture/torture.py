"""Does to the program what should never happen to it, and says what came of it.

    cargo build --release
    python3 tests/torture/torture.py target/release/regulus [--seed N] [--share 0.02] [--keep FOLDER] [KIND ...]

Kinds: kills, bytes, disk, together, clock, images, files, bombs; all of them without a word. `--share` is the fraction of the full number that is tried. On a fault it
prints the command, keeps the files, and ends with 1. Needs Linux, Python 3.10 and a C compiler; as root, and in a container that may mount, the full disk is a real one.
"""

import argparse
import importlib
import resource
import sys
import tempfile
import time
from pathlib import Path

from program import Program, Tally

KINDS = ["kills", "bytes", "disk", "together", "clock", "images", "files", "bombs"]
MODULES = {"bytes": "run_bytes"}

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("program", type=Path)
parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(KINDS))
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--share", type=float, default=1.0)
parser.add_argument("--keep", type=Path, default=Path("target/torture"), help="where the files of a fault are kept")
options = parser.parse_intermixed_args()
if strange := [kind for kind in options.kinds if kind not in KINDS]:
    parser.error(f"unknown kind {strange[0]}; expected {', '.join(KINDS)}")
if not 0 < options.share <= 1:
    parser.error(f"--share is {options.share}; expected a number > 0 and <= 1")

# What takes all memory is to fail alone.
resource.setrlimit(resource.RLIMIT_AS, (16 << 30, 16 << 30))
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
tallies = []
begun = time.monotonic()
with tempfile.TemporaryDirectory(prefix="torture-") as work:
    program = Program(options.program, work)
    for kind in options.kinds or KINDS:
        began, program.peak = time.monotonic(), 0.0
        tally = Tally(kind, options.keep)
        importlib.import_module(MODULES.get(kind, kind)).run(program, options.seed, options.share, tally)
        line = f"{tally.line()} ({time.monotonic() - began:.0f} s, at most {program.peak:.0f} MiB)"
        print(line, flush=True)
        tallies.append((line, tally.faults))
print(f"\nseed {options.seed}, share {options.share}, {time.monotonic() - begun:.0f} s")
for line, _ in tallies:
    print(line)
sys.exit(1 if any(faults for _, faults in tallies) else 0)
