"""Every byte of every file of a run folder changed, and every file cut at every length: the same result as before, or an error with the documented code.

Of a finished run: what `evaluate`, `predict` and `resume`, which prints the summary, say; where a checkpoint is damaged and a warning says so, it may be the
result of the checkpoint before it. Of an interrupted one: what it becomes by `resume`.
"""

import shutil

import experiment
from program import HERE, at_once, difference, result_of, share_of, stream

CODES = {0, 2, 3}


def changes(run, draw, share):
    """Each byte of each file with one bit flipped, and each shorter length."""
    every = []
    for file in sorted(file for file in run.rglob("*") if file.is_file()):
        size = file.stat().st_size
        every += [(file.relative_to(run), what, position) for what in ("flip", "cut") for position in range(size)]
    return share_of(every, share, draw)


def changed(content, what, position, bit):
    if what == "cut":
        return content[:position]
    return content[:position] + bytes([content[position] ^ 1 << bit]) + content[position + 1 :]


def run(program, seed, share, tally):
    folder = experiment.prepare(program.folder("bytes"), stream("data"), experiment.FEW_BYTES)
    image = str(HERE / "images" / "grey.png")
    whole, half = folder / "whole", folder / "half"
    ended = program.run(["train", "config.toml", "--run-dir", whole], folder, {"DIR": whole, "LOG": folder / "log"})
    if ended.problem({0}):
        raise SystemExit(f"no run to change: {ended.command}\n{ended.stderr}")
    expected = result_of(whole)
    # Killed after the last but one checkpoint of the second epoch, so that there is one of each, and one before each.
    changes_made = [line.split(" ", 2) for line in (folder / "log").read_text().splitlines()]
    last = [int(number) for number, call, path in changes_made if call == "rename" and path.endswith("/checkpoints/last")][-2]
    ended = program.run(["train", "config.toml", "--run-dir", half], folder, {"DIR": half, "AT": last + 2, "HOW": "kill"})
    if ended.code != -9:
        raise SystemExit(f"the run that was to be interrupted was not: {ended.command}\n{ended.stderr}")

    def commands(run):
        return [["evaluate", run, "--json"], ["predict", run, image, "--json"], ["resume", run, "--json"]]

    def said(ended, run):
        return ended.stdout.replace(str(run), "RUN")

    before = [said(program.run(command, folder), whole) for command in commands(whole)]
    if not all(before):
        raise SystemExit("a command says nothing about the whole run")
    older = folder / "older"
    shutil.copytree(whole, older)
    (older / "checkpoints" / "best" / "SHA256SUMS").unlink()
    before_that = [said(program.run(command, folder), older) for command in commands(older)]
    result = result_of(whole)
    tally.note(f"{sum(file.stat().st_size for file in whole.rglob('*') if file.is_file()):,} bytes of a finished run, {sum(file.stat().st_size for file in half.rglob('*') if file.is_file()):,} of an interrupted one")

    def finished(job):
        number, (name, what, position) = job
        run = folder / f"whole-{number}"
        shutil.copytree(whole, run)
        content = (run / name).read_bytes()
        bit = stream(seed, number).randrange(8)
        (run / name).write_bytes(changed(content, what, position, bit))
        tally.count("bytes flipped" if what == "flip" else "lengths cut")
        fault = f"`{name}` " + (f"with bit {bit} of byte {position} flipped" if what == "flip" else f"cut to {position} bytes")
        # The checkpoints' files are read by all of them in the same way.
        for command, expected_text, older_text in list(zip(commands(run), before, before_that))[: 1 if name.parts[0] == "checkpoints" else 3]:
            ended = program.run(command, folder)
            text = said(ended, run)
            if ended.code == 0 and "using the checkpoint before it" in ended.stderr and text == older_text:
                tally.count("the checkpoint before, with a warning")
                continue
            judge(ended, text == expected_text, f"{fault}, {command[0]}", [run])
        shutil.rmtree(run)

    def interrupted(job):
        number, (name, what, position) = job
        run = folder / f"half-{number}"
        shutil.copytree(half, run)
        content = (run / name).read_bytes()
        bit = stream(seed, number).randrange(8)
        (run / name).write_bytes(changed(content, what, position, bit))
        tally.count("bytes flipped" if what == "flip" else "lengths cut")
        fault = f"of an interrupted run `{name}` " + (f"with bit {bit} of byte {position} flipped" if what == "flip" else f"cut to {position} bytes")
        ended = program.run(["resume", run], folder)
        if ended.code == 0 and (found := result_of(run)) != result:
            fault += f": the result differs in {difference(found, result)}"
        judge(ended, ended.code != 0 or found == result, fault, [run])
        shutil.rmtree(run)

    def judge(ended, same, fault, files):
        if problem := ended.problem(CODES):
            tally.fault(f"{fault}: {problem}", ended, files)
        elif ended.code:
            tally.count(f"refused with code {ended.code}")
        elif same:
            tally.count("same result")
        else:
            tally.fault(f"{fault}: another result in silence", ended, files, wrong=True)

    draw = stream(seed, "bytes")
    at_once(finished, list(enumerate(changes(whole, draw, share))))
    at_once(interrupted, list(enumerate(changes(half, draw, share))))
    if result_of(whole) != expected:
        raise SystemExit("the run that copies were made of has changed")
