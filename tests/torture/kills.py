"""SIGKILL at every change a run makes to its folder and at random instants, again while it is resumed, on another number of threads."""

import os
import shutil
import time

import experiment
from program import at_once, difference, result_of, share_of, stream

KILLS = 1000
# Of the resumes, those that are killed too.
AGAIN = 0.4


class Setting:
    """A run that nothing happened to, and the changes it made to its folder."""

    def __init__(self, program):
        self.program = program
        self.folder = experiment.prepare(program.folder("kills"), stream("data"), experiment.STATE)
        self.cores = os.sched_getaffinity(0)
        whole = self.folder / "whole"
        log = self.folder / "calls.log"
        begun = time.monotonic()
        ended = program.run(self.train(whole), self.folder, {"DIR": whole, "LOG": log})
        self.seconds = time.monotonic() - begun
        if ended.problem({0}):
            raise SystemExit(f"the training to compare with failed: {ended.command}\n{ended.stderr}")
        lines = [line.split(" ", 2) for line in log.read_text().splitlines()]
        self.calls = [(int(number), call, path) for number, call, path in lines if call != "start"]
        kinds = {call for _, call, _ in self.calls}
        if not kinds >= {"open", "write", "sync", "rename", "mkdir", "unlink"}:
            raise SystemExit(f"faults.c saw only {sorted(kinds)} of the program's calls; nothing can be injected into it")
        self.expected = result_of(whole)
        again = self.folder / "one-core"
        # It is only a comparison of interrupted with uninterrupted where the latter does not depend on threads.
        begun = time.monotonic()
        ended = program.run(self.train(again), self.folder, cores=self.one_core())
        self.seconds = min(self.seconds, time.monotonic() - begun)
        if ended.problem({0}) or result_of(again) != self.expected:
            raise SystemExit(f"the uninterrupted training gives other bits on one core: {ended.command}")

    def train(self, run):
        return ["train", "config.toml", "--run-dir", run]

    def one_core(self):
        return {min(self.cores)}

    def go_on(self, run, tally, faults=None, cores=None, kill_after=None):
        """Resumes the run, or, where it was stopped before it was one, gives the same command again. Nothing else is done to help it."""
        ended = self.program.run(["resume", run], self.folder, faults, cores, kill_after)
        is_unbegun = "was stopped before it began" in ended.stderr or "it has no `config.toml`" in ended.stderr
        if (ended.code == 2 and is_unbegun) or (ended.code == 3 and "cannot find" in ended.stderr):
            tally.count("begun by the same command again")
            ended = self.program.run(self.train(run), self.folder, faults, cores, kill_after)
        return ended

    def finish(self, run, tally, ended, cores=None):
        """Lets the run go on to its end and compares it with the one nothing happened to."""
        before = self.folder / f"{run.name}-before"
        if run.exists():
            shutil.copytree(run, before)
        last = self.go_on(run, tally, cores=cores)
        if problem := last.problem({0}):
            tally.count("manual repairs")
            tally.fault(f"after `{ended.command}` the run does not go on by itself: {problem}", last, [before])
        elif (found := result_of(run)) != self.expected:
            tally.fault(f"after `{ended.command}` the result differs in {difference(found, self.expected)}", last, [before, run], wrong=True)
        else:
            tally.count("same result")
        for folder in (run, before):
            shutil.rmtree(folder, ignore_errors=True)


def run(program, seed, share, tally):
    setting = Setting(program)
    draw = stream(seed, "kills")
    tally.count("manual repairs", 0)
    points = [(number, "kill") for number, _, _ in setting.calls]
    points += [(number, "kill-half") for number, call, _ in setting.calls if call == "write"]
    jobs = [(index, *point) for index, point in enumerate(share_of(points, share, draw))]
    tally.note(f"a run makes {len(setting.calls)} changes in {setting.seconds:.2f} s; {len(jobs)} of {len(points)} points are tried")

    def kill(job):
        index, number, how = job
        own = stream(seed, "kill", index)
        run = setting.folder / f"run-{index}"
        cores = [setting.cores, setting.one_core()]
        own.shuffle(cores)
        if number:
            ended = program.run(setting.train(run), setting.folder, {"DIR": run, "AT": number, "HOW": how}, cores[0])
        else:
            ended = program.run(setting.train(run), setting.folder, cores=cores[0], kill_after=own.uniform(0, 1.2 * setting.seconds))
        if ended.code != -9:
            if number:
                raise SystemExit(f"nothing was killed at change {number}: {ended.command}\n{ended.stderr}")
            tally.count("ended before they could be killed")
        else:
            tally.count("kills at a change" if number else "kills at random instants")
        while own.random() < AGAIN:
            if own.random() < 0.5:
                again = setting.go_on(run, tally, {"DIR": run, "AT": own.randrange(1, 80), "HOW": own.choice(["kill", "kill-half"])}, cores[1])
            else:
                again = setting.go_on(run, tally, cores=cores[1], kill_after=own.uniform(0, setting.seconds))
            if again.code == -9:
                tally.count("kills of a resume")
            elif again.problem({0}):
                break
            cores.reverse()
        setting.finish(run, tally, ended, cores[1])

    at_once(kill, jobs)
    index = len(jobs)
    while (left := round(KILLS * share) - sum(number for what, number in tally.counts.items() if what.startswith("kills"))) > 0:
        at_once(kill, [(index + more, 0, "") for more in range(left)])
        index += left
    if len(setting.cores) == 1:
        tally.note("this machine has one core: the number of threads did not change")
