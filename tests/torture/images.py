"""Changed images of every format, predicted by the hundred: each gives a prediction or is refused by name, and none ends the program early.

A file cut short must be refused, unless what it lost was no pixel: then the prediction is the same number for number. The network is a softmax regression, in
whose result every pixel is.
"""

import json
import shutil

import experiment
from mutate import mutated
from program import HERE, at_once, stream

IMAGES, CHUNK = 13_000, 200


def trained(program, draw):
    folder = experiment.prepare(program.folder("images"), draw, experiment.FEW_BYTES, side=24)
    sets = ["model={kind=\"linear\"}", "train.epochs=1"]
    ended = program.run(["train", "config.toml", "--run-dir", "run", *(word for one in sets for word in ("--set", one))], folder)
    if ended.problem({0}):
        raise SystemExit(f"no network to predict with: {ended.command}\n{ended.stderr}")
    return folder


def predict(program, folder, names, tally):
    """Predicts all of them and returns prediction or None for each. A start that a fault ended is followed by another with what is left."""
    found, left = {}, list(names)
    while left:
        ended = program.run(["predict", "run", "--json", *left], folder)
        lines = [json.loads(line) for line in ended.stdout.splitlines() if line.endswith("}")]
        refused = [line for line in lines if "error" in line]
        found |= {line["image"]: line.get("classes") for line in lines}
        unseen = [name for name in left if name not in found]
        if problem := ended.problem({0, 3}):
            # The one after those that were printed; if it is not that alone, all are kept.
            alone = [name for name in unseen[:1] if program.run(["predict", "run", "--json", name], folder).problem({0, 3})]
            kept = alone or unseen
            tally.fault(f"{problem}; " + (f"`{alone[0]}` alone does it" if alone else "no image alone does it"), ended, [folder / name for name in kept])
            found |= dict.fromkeys(kept)
            left = [name for name in unseen if name not in kept]
            continue
        if unseen:
            tally.fault(f"it says nothing of {len(unseen)} images", ended, [folder / name for name in unseen])
            found |= dict.fromkeys(unseen)
        if (ended.code == 3) != bool(refused) or not all(f"`{line['image']}`" in line["error"] for line in refused):
            tally.fault(f"exit code {ended.code}, and {len(refused)} images are refused by name", ended)
        return found
    return found


def run(program, seed, share, tally):
    folder = trained(program, stream("data"))
    seeds = sorted(file for file in (HERE / "images").iterdir() if file.suffix not in (".md", ".py"))
    for file in seeds:
        shutil.copy(file, folder / file.name)
    whole = predict(program, folder, [file.name for file in seeds], tally)
    contents = {file.name: file.read_bytes() for file in seeds}
    if refused := [name for name, classes in whole.items() if classes is None]:
        tally.fault(f"{refused} are whole and are refused")
        contents = {name: content for name, content in contents.items() if name not in refused}

    def chunk(number):
        draw = stream(seed, "images", number)
        made = {}
        for index in range(CHUNK):
            origin = draw.choice(sorted(contents))
            bytes_, beginning = mutated(draw, contents[origin], list(contents.values()))
            name = f"{number}-{index}-{origin}"
            (folder / name).write_bytes(bytes_)
            made[name] = (origin, beginning)
        for name, classes in predict(program, folder, list(made), tally).items():
            origin, beginning = made[name]
            tally.count("refused with code 3" if classes is None else "predicted")
            if beginning and classes is not None:
                tally.count("cut short where no pixel is")
                if classes != whole[origin]:
                    tally.fault(f"`{name}`, the first {(folder / name).stat().st_size} of {len(contents[origin])} bytes of `{origin}`, is predicted in silence", files=[folder / name], wrong=True)
        for name in made:
            (folder / name).unlink()

    at_once(chunk, range(max(1, round(IMAGES * share / CHUNK))))
