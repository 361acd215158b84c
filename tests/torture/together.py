"""Several processes on one run: two that train, and readers beside one that writes."""

import os
import shutil
import time

from kills import Setting
from program import difference, result_of

TRIES, READS = 40, 400


def run(program, seed, share, tally):
    setting = Setting(program)
    tries = max(2, round(TRIES * share))
    in_use(setting, tally)
    for index in range(tries):
        pair(setting, tally, index, resume=False)
        pair(setting, tally, index, resume=True)
    beside_a_writer(setting, tally, max(20, round(READS * share)))


def long_training(setting, run, *sets):
    words = [word for one in ("train.epochs=100000", *sets) for word in ("--set", one)]
    process = setting.program.start([*setting.train(run), *words], setting.folder)
    deadline = time.monotonic() + 60
    while not (run / "checkpoints" / "best" / "SHA256SUMS").exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise SystemExit("the training that others are to meet did not begin")
        time.sleep(0.01)
    return process


def in_use(setting, tally):
    run = setting.folder / "in-use"
    process = long_training(setting, run)
    try:
        for arguments, words in ((["resume", run], "is in use by another process"), (setting.train(run), "")):
            ended = setting.program.run(arguments, setting.folder)
            tally.count("refused with code 2, the run in use")
            if (problem := ended.problem({2})) or words not in ended.stderr:
                tally.fault(problem or f"the message does not say that the run {words}", ended)
    finally:
        process.kill()
        process.wait()
    shutil.rmtree(run)


def pair(setting, tally, index, resume):
    """The same command twice at once: one does it, the other is refused or finds it done."""
    run = setting.folder / f"pair-{index}"
    if resume:
        setting.program.run(setting.train(run), setting.folder, {"DIR": run, "AT": 40 + index, "HOW": "kill"})
    arguments = ["resume", run] if resume else setting.train(run)
    processes = [setting.program.start(arguments, setting.folder) for _ in range(2)]
    codes = sorted(process.wait(timeout=120) for process in processes)
    tally.count("pairs at once")
    if codes not in ([0, 2], [0, 0]) or (codes == [0, 0] and not resume):
        tally.fault(f"of two `{arguments[0]}` at once the exit codes are {codes}; expected 0 and 2", files=[run])
    elif (found := result_of(run)) != setting.expected:
        tally.fault(f"after two `{arguments[0]}` at once the result differs in {difference(found, setting.expected)}", files=[run], wrong=True)
    else:
        tally.count("same result")
    shutil.rmtree(run)


def beside_a_writer(setting, tally, reads):
    """Reading a run while it commits a checkpoint at every step."""
    run = setting.folder / "written"
    process = long_training(setting, run, "checkpoint.every_steps=1")
    try:
        for index in range(reads):
            if process.poll() is not None:
                raise SystemExit("the training that others read ended too early")
            arguments = ["evaluate", run, "--json", "--checkpoint", ("last", "best")[index % 2]]
            ended = setting.program.run(arguments, setting.folder, cores={max(os.sched_getaffinity(0))})
            tally.count("reads beside a writer")
            if problem := ended.problem({0}):
                tally.fault(f"a whole checkpoint was there at any time, but {problem}", ended)
            elif "warning:" in ended.stderr:
                tally.count("reads of the checkpoint before")
    finally:
        process.kill()
        process.wait()
    shutil.rmtree(run)
