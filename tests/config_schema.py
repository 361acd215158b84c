"""Validates configs and mistakes against the schema that `regulus check --schema` prints. Needs Python 3.11 and the package jsonschema.

    python3 tests/config_schema.py target/release/regulus
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import tomllib

import jsonschema

REGULUS = sys.argv[1]
ROOT = pathlib.Path(__file__).parent.parent
SMALL = 'name = "a"\n[data]\nsource = "mnist_mini"\n[[penalty]]\nkind = "l2"\nlambda = 1\n'
L1 = SMALL.replace('"l2"', '"l1"')
FOLDER = SMALL.replace('"mnist_mini"', '"folder"\ndir = "."')
IDX = SMALL.replace('"mnist_mini"', '"idx"\ndir = "."')

# A config and what is set in it. The program accepts each, and so must the schema.
RIGHT = [
    (SMALL, []),
    (SMALL, ["optimizer.kind=sgd", "optimizer.momentum=0.9", "optimizer.nesterov=true", "optimizer.clip_norm=1"]),
    (SMALL, ["optimizer.kind=adamw", "optimizer.weight_decay=0.1"]),
    (SMALL, ["optimizer.kind=rmsprop", "optimizer.centered=true"]),
    (SMALL, ["schedule.kind=step", "schedule.every_epochs=2", "train.batch_size=full", "penalty.0.samples=7"]),
    (SMALL, ["schedule.kind=plateau", "data.validation=0.1", "train.keep=last", "penalty.0.samples=batch"]),
    (SMALL, ["penalty.0.schedule.kind=evidence", "train.epochs=20", "backend.kernels=stock"]),
    (SMALL, ["penalty.1.kind=decoupled", "penalty.1.schedule.kind=cpr", "averaging.kind=swa", "averaging.from_epoch=2"]),
    (SMALL, ["averaging.kind=ema", "augment.rotation=180", "augment.shift=2", "model.kind=linear", "model.initializer=kaiming"]),
    (SMALL, ['model={kind="layers", layers=["flatten", "dense classes"]}', "penalty.0.scope=dense*"]),
    (SMALL, ["model.kind=mlp", "model.dropout=0.5", "model.init=other.safetensors"]),
    (SMALL, ["model.kind=resnet9", "model.widths=[4, 8, 8, 8]", "model.initializer=pytorch", "schedule.kind=one_cycle", "schedule.anneal=linear"]),
    (SMALL, ["model.kind=resnet20", "model.blocks=[9, 9, 9]", "schedule.kind=linear", "schedule.warmup_steps=5"]),
    (SMALL, ["model.kind=resnet18", "model.blocks=[3, 4, 6, 3]"]),
    (SMALL, ["model.batch_norm=true"]),
    (L1, ["penalty.0.proximal=true", "penalty.0.schedule.kind=linear", "penalty.0.schedule.warmup_steps=10"]),
    (SMALL, ["penalty.0.kind=elastic_net", "penalty.0.l1_ratio=0.2"]),
    (FOLDER, ["data.validation=folder", "data.image_channels=3", "data.resize=crop", "data.damaged=skip", "data.image_size=[9, 12]"]),
    (IDX, ['data.classes=["a", "b"]', "data.transpose=true", "data.train_images=i", "data.train_labels=l"]),
]

# What the program refuses, and so must the schema.
WRONG = [
    (SMALL, mistake)
    for mistake in [
        "zzz=1",
        "epochs=3",
        "lambda=1",
        "optimiser.kind=sgd",
        "train.epocs=3",
        "penalty.0.scop=all",
        "penalty.0.schedule.rate=1",
        "name=../up",
        'name=""',
        "seed=-1",
        "seed=1.5",
        "backend.kind=tpu",
        "backend.threads=20000",
        "backend.threads=two",
        "data.source=imagenet",
        "data.validation=1.0",
        "data.validation=half",
        "data.shuffle=maybe",
        "data.normalization=none",
        "data.dir=/tmp",
        "data.image_size=[28, 28]",
        "model.dropout=1",
        "model.hidden=0",
        "model.channels=[3, 0]",
        "model.channels=32",
        "model.padding=1",
        "model.layers=[\"flatten\"]",
        "model={kind=\"layers\", layers=[]}",
        "model.widths=[4, 8, 8, 8]",
        "model={kind=\"resnet9\", blocks=[2, 2]}",
        "model={kind=\"resnet20\", blocks=[3, 0, 3]}",
        "model={kind=\"mlp\", batch_norm=true}",
        "schedule.warmup_fraction=0.2",
        "schedule={kind=\"one_cycle\", warmup_steps=5}",
        "penalty.0.lambda=-1",
        "penalty.0.kind=l3",
        "penalty.0.l1_ratio=0.5",
        "penalty.0.proximal=true",
        "penalty.0.samples=none",
        "penalty.0.samples=0",
        "penalty.0.schedule.kind=plateau",
        "penalty.0.schedule.ratio=1",
        "penalty=[1]",
        "penalty=l2",
        "optimizer.learning_rate=0",
        "optimizer.learning_rate=-0.1",
        "optimizer.learning_rate=fast",
        "optimizer.momentum=0.9",
        "optimizer.kind=adm",
        "optimizer.beta_1=1",
        "schedule.factor=0.5",
        "train.epochs=0",
        "train.epochs=many",
        "train.epochs=2.5",
        "train.batch_size=0",
        "train.batch_size=half",
        "train.keep=first",
        "train.label_smoothing=1",
        "train.max_steps=-1",
        "augment.rotation=181",
        "augment.shift=0.5",
        "averaging.decay=0.9",
        "averaging.kind=mean",
        "early_stopping.patience=-2",
        "checkpoint.every_steps=often",
        "train=1",
        "model=[\"mlp\"]",
    ]
] + [
    (FOLDER, "data.image_channels=2"),
    (FOLDER, "data.image_size=[9, 99999]"),
    (FOLDER, "data.image_size=[9]"),
    (FOLDER, "data.transpose=true"),
    (IDX, 'data.classes=["a", "a"]'),
    (IDX, "data.cache=true"),
]


def run(*arguments):
    return subprocess.run([REGULUS, *arguments], capture_output=True, text=True)


def check(path, *arguments):
    return run("check", str(path), "--config-only", *arguments)


def with_value(text, assignment):
    """The config with a key set, without the program: what an editor sees."""
    key, value = assignment.split("=", 1)
    config = tomllib.loads(text)
    try:
        value = tomllib.loads(f"v = {value}")["v"]
    except tomllib.TOMLDecodeError:
        pass
    node = config
    *parents, last = key.split(".")
    for part in parents:
        node = node[int(part)] if part.isdigit() else node.setdefault(part, {})
    node[last] = value
    return config


schema = json.loads(run("check", "--schema").stdout)
jsonschema.Draft202012Validator.check_schema(schema)
validator = jsonschema.Draft202012Validator(schema)
folder = pathlib.Path(tempfile.mkdtemp())
file = folder / "config.toml"

configs = sorted((ROOT / "configs").glob("*.toml"))
assert len(configs) >= 4
for path in configs:
    validator.validate(tomllib.loads(path.read_text()))
    for arguments in [[], ["--comments"]]:
        validator.validate(tomllib.loads(check(path, *arguments).stdout))

for text, sets in RIGHT:
    file.write_text(text)
    checked = check(file, *[argument for value in sets for argument in ("--set", value)])
    assert checked.returncode == 0, (sets, checked.stderr)
    validator.validate(tomllib.loads(checked.stdout))

for text, mistake in WRONG:
    file.write_text(text)
    assert check(file, "--set", mistake).returncode == 2, f"{mistake}: the program takes it"
    assert not validator.is_valid(with_value(text, mistake)), f"{mistake}: the schema takes it"

print(f"{len(configs)} configs and {len(RIGHT)} variants are valid, {len(WRONG)} mistakes are not")
