"""Clocks that jump or tell an absurd time."""

import shutil

from kills import Setting
from program import difference, result_of, share_of, stream

# 1970, 1938, the last second of the year 9999, the first of 10000, the largest number of 32 bits, far beyond.
TIMES = [0, -1_000_000_000, 253_402_300_799, 253_402_300_800, 2_147_483_648, 1 << 40, (1 << 62) - 1, -(1 << 62)]


def run(program, seed, share, tally):
    setting = Setting(program)
    clocks = [{"REALTIME": time} for time in ["jump", *TIMES]] + [{"MONOTONIC": "jump"}, {"REALTIME": "jump", "MONOTONIC": "jump"}]
    for index, faults in enumerate(share_of(clocks, max(share, 0.5), stream(seed, "clock"))):
        # The run's folder gets its name from the clock.
        folder = setting.folder / f"artifacts-{index}"
        log = setting.folder / f"clock-{index}.log"
        ended = program.run(["train", "config.toml", "--set", f"artifacts={folder}"], setting.folder, {**faults, "LOG": log})
        if "REALTIME" in faults and " realtime " not in log.read_text():
            raise SystemExit("the program does not look at the clock of faults.c; nothing was injected")
        tally.count("clocks")
        if problem := ended.problem({0}):
            tally.fault(problem, ended, [folder])
            continue
        (run,) = (folder / "torture").iterdir()
        resumed = program.run(["resume", run], setting.folder, faults)
        found = result_of(run)
        if problem := resumed.problem({0}):
            tally.fault(problem, resumed, [folder])
        elif found != setting.expected:
            tally.fault(f"the result differs in {difference(found, setting.expected)}", ended, [folder], wrong=True)
        else:
            tally.count("same result")
        shutil.rmtree(folder)
