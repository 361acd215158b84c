"""Changed IDX files, safetensors, archives and configs: taken or refused with the documented code, never a panic.

What has a checksum of its own (gzip) is refused or gives the same data; a file cut short is refused.
"""

import gzip
import io
import re
import shutil
import tarfile

import experiment
from mutate import mutated
from program import at_once, stream

COUNTS = {"idx": 2000, "safetensors": 2000, "archive": 1500, "config": 1500}


def gz(content):
    return gzip.compress(content, mtime=0)


def run(program, seed, share, tally):
    for kind, test in (("idx", idx), ("safetensors", safetensors), ("archive", archive), ("config", config)):
        test(program, seed, max(5, round(COUNTS[kind] * share)), tally)


def judge(tally, ended, codes, files, wrong=None):
    """Counts how it ended; `wrong` is what would be wrong with a success."""
    if problem := ended.problem(codes):
        tally.fault(problem, ended, files)
    elif ended.code == 0 and wrong:
        tally.fault(wrong, ended, files, wrong=True)
    else:
        tally.count("taken" if ended.code == 0 else f"refused with code {ended.code}")


def idx(program, seed, count, tally):
    folder = experiment.prepare(program.folder("idx"), stream("data"), experiment.FEW_BYTES, train=30, test=6, side=6)
    files = {file.name: file.read_bytes() for file in (folder / "data").iterdir()}
    whole = program.run(["data", "inspect", "config.toml", "--json"], folder)
    if whole.problem({0}):
        raise SystemExit(f"whole data are refused: {whole.command}\n{whole.stderr}")

    def one(number):
        draw = stream(seed, "idx", number)
        own = folder / f"{number}"
        shutil.copytree(folder / "data", own / "data")
        shutil.copy(folder / "config.toml", own)
        name, packed = draw.choice(sorted(files)), draw.random() < 0.5
        content = gz(files[name]) if packed else files[name]
        new, beginning = mutated(draw, content, list(files.values()))
        (own / "data" / name).write_bytes(new)
        ended = program.run(["data", "inspect", "config.toml", "--json"], own)
        tally.count("IDX files")
        wrong = None
        if beginning:
            wrong = f"`{name}` was cut short and is taken"
        elif packed and new[:2] == content[:2] and ended.stdout != whole.stdout:
            wrong = f"`{name}` is damaged, gzip's checksum says so, and other data are taken from it"
        judge(tally, ended, {0, 3}, [own], wrong)
        shutil.rmtree(own)

    at_once(one, range(count))


def safetensors(program, seed, count, tally):
    folder = experiment.prepare(program.folder("safetensors"), stream("data"), experiment.FEW_BYTES)
    ended = program.run(["train", "config.toml", "--run-dir", "run"], folder)
    if ended.problem({0}):
        raise SystemExit(f"no weights to change: {ended.command}\n{ended.stderr}")
    contents = [(folder / "run" / "checkpoints" / name / "model.safetensors").read_bytes() for name in ("best", "last.previous")]

    def one(number):
        draw = stream(seed, "safetensors", number)
        new, beginning = mutated(draw, contents[0], contents)
        file = folder / f"{number}.safetensors"
        file.write_bytes(new)
        ended = program.run(["check", "config.toml", "--set", f"model.init={file.name}"], folder)
        tally.count("safetensors")
        judge(tally, ended, {0, 3}, [file], f"`{file.name}` was cut short and is taken" if beginning else None)
        file.unlink()

    at_once(one, range(count))


def cifar(draw):
    """The six files of CIFAR-10's binary layout, with few records."""
    files = {"batches.meta.txt": b"airplane\nautomobile\nbird\ncat\ndeer\ndog\nfrog\nhorse\nship\ntruck\n"}
    for name in [f"data_batch_{number}.bin" for number in range(1, 6)] + ["test_batch.bin"]:
        files[name] = b"".join(bytes([label]) + draw.randbytes(3072) for label in range(10))
    return files


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


CIFAR = 'name = "cifar"\n[data]\nsource = "cifar10"\ndir = "{}"\n'


def archive(program, seed, count, tally):
    folder = program.folder("archive")
    tar = packed(cifar(stream("data")))
    compressed = gz(tar)
    (folder / "whole.tar.gz").write_bytes(compressed)
    (folder / "config.toml").write_text(CIFAR.format("whole.tar.gz"))
    whole = program.run(["data", "inspect", "config.toml", "--json"], folder)
    if whole.code == 2 and "data.source" in whole.stderr:
        tally.note("skipped `.tar.gz`: this program has no source `cifar10`")
        return
    if whole.problem({0}):
        tally.fault("a small archive in CIFAR-10's layout is refused", whole, [folder])
        return

    def one(number):
        draw = stream(seed, "archive", number)
        outside = draw.random() < 0.5
        if outside:
            new, beginning = mutated(draw, compressed, [compressed, tar])
        else:
            # Changed inside: headers of the archive above all.
            position = 512 * draw.choice([position for position in range(0, len(tar) // 512) if tar[512 * position :].startswith(b"cifar")])
            header, _ = mutated(draw, tar[position : position + 512], [tar[:512]])
            new, beginning = gz(tar[:position] + header + tar[position + 512 :]), False
        file, own = folder / f"{number}.tar.gz", folder / f"{number}.toml"
        file.write_bytes(new)
        own.write_text(CIFAR.format(file.name))
        ended = program.run(["data", "inspect", own.name, "--json"], folder)
        tally.count("archives")
        wrong = None
        if beginning:
            wrong = f"`{file.name}` was cut short and is taken"
        elif outside and new[:2] == compressed[:2] and ended.stdout != whole.stdout:
            wrong = f"`{file.name}` is damaged, gzip's checksum says so, and other data are taken from it"
        judge(tally, ended, {0, 3}, [file, own], wrong)
        file.unlink()
        own.unlink()

    at_once(one, range(count))


ODD = ["nan", "inf", "-inf", "-1", "0", "1e400", "99999999999999999999", "9223372036854775807", "-9223372036854775808", "1e-320", '"x"', '""', "[]", "{}", "[[]]", "true", "1979-05-27", "0xff", '"\\u0000"', "[1, \"a\"]"]


def odd_config(draw, text):
    """A config with a value, a word or a line that is not as it should be."""
    lines = text.splitlines()
    position = draw.randrange(len(lines))
    what = draw.randrange(8)
    if what <= 2:
        values = [number for number, line in enumerate(lines) if " = " in line]
        position = draw.choice(values)
        lines[position] = lines[position].split(" = ")[0] + " = " + draw.choice(ODD)
    elif what == 3:
        del lines[position]
    elif what == 4:
        lines.insert(draw.randrange(len(lines)), lines[position])
    elif what == 5:
        words = re.findall(r"\w+", text)
        lines[position] = re.sub(r"\w+", lambda found: draw.choice(words) if draw.random() < 0.5 else found[0], lines[position])
    elif what == 6:
        deep = draw.choice([10, 100, 10_000])
        lines.append(draw.choice(["x = " + "[" * deep + "]" * deep, "x = " + "{a = " * deep, "[" + ".".join(["a"] * deep) + "]", '"' * deep]))
    else:
        return mutated(draw, text.encode(), [experiment.FEW_BYTES.encode()])[0]
    return "\n".join(lines).encode()


def config(program, seed, count, tally):
    folder = experiment.prepare(program.folder("config"), stream("data"), experiment.STATE)
    text = experiment.STATE

    def one(number):
        draw = stream(seed, "config", number)
        file = folder / f"{number}.toml"
        file.write_bytes(odd_config(draw, draw.choice([text, experiment.FEW_BYTES])))
        whole = draw.random() < 0.5
        ended = program.run(["check", file.name] + ([] if whole else ["--config-only"]), folder)
        tally.count("configs")
        judge(tally, ended, {0, 2, 3} if whole else {0, 2}, [file])
        file.unlink()

    at_once(one, range(count))
