"""A disk that fills, fails, interrupts or writes in small pieces, and a folder that can only be read."""

import contextlib
import os
import shutil
import subprocess

from kills import Setting
from program import at_once, difference, result_of, share_of, stream

KIB = 1024


@contextlib.contextmanager
def small_disk(folder, kib):
    """A file system in memory of that size; none where it can't be mounted."""
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={kib}k", "none", folder], capture_output=True).returncode == 0
    try:
        yield folder if mounted else None
    finally:
        if mounted:
            subprocess.run(["umount", "-l", folder], check=True)
        folder.rmdir()


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def run(program, seed, share, tally):
    setting = Setting(program)
    draw = stream(seed, "disk")
    tally.count("manual repairs", 0)
    calls = {number: call for number, call, _ in setting.calls}
    jobs = [(number, how) for how in ("enospc", "eio-once") for number in calls]
    jobs += [(number, "eintr") for number, call in calls.items() if call in ("open", "write", "sync")]
    jobs = share_of(jobs, share, draw) + [(1, "short")]

    def fail(job):
        number, how = job
        run = setting.folder / f"{how}-{number}"
        ended = program.run(setting.train(run), setting.folder, {"DIR": run, "AT": number, "HOW": how})
        harmless = how in ("eintr", "short")
        tally.count({"enospc": "full at a change", "eio-once": "errors of one change", "eintr": "interrupted changes", "short": "writes in pieces"}[how])
        if problem := ended.problem({0} if harmless else {0, 1}):
            tally.fault(problem, ended, [run])
        elif ended.code:
            tally.count("refused with code 1")
        setting.finish(run, tally, ended)

    at_once(fail, jobs)
    fill(setting, share, tally, draw)
    read_only(setting, tally)


def fill(setting, share, tally, draw):
    """Disks of each size up to the one that a run needs."""
    need = sum(file.stat().st_size + 4096 for file in (setting.folder / "whole").rglob("*")) // KIB + 64

    def full(kib):
        with small_disk(setting.folder / f"disk-{kib}", kib) as disk:
            if not disk:
                return
            run = disk / "run"
            ended = setting.program.run(setting.train(run), setting.folder)
            tally.count("small disks")
            if problem := ended.problem({0, 1}):
                tally.fault(problem, ended, [run])
            elif ended.code:
                tally.count("refused with code 1")
            remount(disk, "size=16m")
            cores = setting.one_core()
            last = setting.go_on(run, tally, cores=cores)
            if problem := last.problem({0}):
                tally.count("manual repairs")
                tally.fault(f"after a full disk of {kib} KiB the run does not go on by itself: {problem}", last, [run])
            elif (found := result_of(run)) != setting.expected:
                tally.fault(f"after a full disk of {kib} KiB the result differs in {difference(found, setting.expected)}", last, [run], wrong=True)
            else:
                tally.count("same result")

    at_once(full, share_of(list(range(4, need, 4)), share, draw))
    if not tally.counts["small disks"]:
        tally.note("no file system can be mounted here: the full disk is the one of faults.c alone")


def read_only(setting, tally):
    """What only reads works in a folder that can't be written to; what writes says so."""
    program, run = setting.program, setting.folder / "read-only"

    def expect(codes, arguments, faults, what=None):
        ended = program.run(arguments, setting.folder, faults)
        tally.count("commands in a folder that can't be written to")
        if problem := ended.problem(codes):
            tally.fault(problem, ended)
        elif what is not None and ended.stdout != what:
            tally.fault("the result is another one than in a folder that can be written to", ended, wrong=True)

    def half(run):
        middle = len(setting.calls) // 2
        ended = program.run(setting.train(run), setting.folder, {"DIR": run, "AT": middle, "HOW": "kill"})
        assert ended.code == -9, ended
        return program.run(["evaluate", run, "--json"], setting.folder).stdout

    def commands(run, faults):
        expect({1}, ["resume", run], faults)
        expect({0}, ["evaluate", run, "--json"], faults, measured)
        expect({1}, ["export", run], faults)
        expect({0}, ["export", run, "--output", setting.folder / "exported.safetensors"], faults)
        expect({1}, setting.train(run.parent / "new"), faults)

    with small_disk(run, 16 * KIB) as disk:
        if disk:
            measured = half(disk / "run")
            remount(disk, "ro")
            commands(disk / "run", None)
    inner = setting.folder / "protected"
    inner.mkdir()
    measured = half(inner / "run")
    commands(inner / "run", {"DIR": inner, "AT": 1, "HOW": "erofs"})
    # As it can be written to again, it goes on.
    last = setting.go_on(inner / "run", tally)
    if last.problem({0}) or result_of(inner / "run") != setting.expected:
        tally.fault("a run that met a folder that can't be written to does not go on to the same result", last, [inner / "run"])
    shutil.rmtree(inner)
    if os.path.exists(setting.folder / "exported.safetensors"):
        os.unlink(setting.folder / "exported.safetensors")
