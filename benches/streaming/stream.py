"""Trains a small network on tar shards of JPEGs that are larger than the memory for them.

    python3 benches/streaming/stream.py PROGRAM FOLDER [--images 10000] [--side 64] [--kill] [--threads 0]

Makes the shards in FOLDER once (224x224 photographs-like noise and shapes, 1,000 in a shard), then prints as JSON lines: the speed of the bare decoder
on the same cores, that of the network with images in memory, the speed of an epoch, the peak of the resident memory, and with --kill whether a run that was killed in the middle of an epoch
ends with the same bits.
"""

import argparse
import hashlib
import io
import json
import os
import pathlib
import random
import subprocess
import sys
import tarfile
import time

SIDE, PER_SHARD, CLASSES = 224, 1000, 10

CONFIG = """name = "stream"
[data]
source = "shards"
dir = "{dir}"
image_size = [{side}, {side}]
image_channels = 3
memory = "{memory} MB"
[model]
kind = "layers"
layers = ["conv 8 8x8 stride 8", "relu", "flatten", "dense 10"]
[optimizer]
kind = "sgd"
learning_rate = 0.01
[train]
epochs = 1
batch_size = 32
[checkpoint]
every_steps = 50
[backend]
threads = {threads}
"""


def jpeg(number):
    """A JPEG whose class is the colour of its disc, over smoothed noise."""
    from PIL import Image, ImageDraw

    draw_from = random.Random(number)
    noise = Image.frombytes("RGB", (28, 28), draw_from.randbytes(28 * 28 * 3)).resize((SIDE, SIDE), Image.BICUBIC)
    pen = ImageDraw.Draw(noise)
    label = number % CLASSES
    x, y, r = draw_from.randrange(40, 184), draw_from.randrange(40, 184), draw_from.randrange(20, 40)
    pen.ellipse([x - r, y - r, x + r, y + r], fill=(25 * label, 255 - 25 * label, 40 * label % 256))
    content = io.BytesIO()
    noise.save(content, "JPEG", quality=85)
    return label, content.getvalue()


def make(folder, images):
    folder.mkdir(parents=True, exist_ok=True)
    for first in range(0, images, PER_SHARD):
        path = folder / f"train-{first // PER_SHARD:06}.tar"
        if path.exists():
            continue
        partial = path.with_suffix(".part")
        with tarfile.open(partial, "w") as shard:
            for number in range(first, min(first + PER_SHARD, images)):
                label, image = jpeg(number)
                for suffix, content in [("jpg", image), ("cls", str(label).encode())]:
                    member = tarfile.TarInfo(f"{number:08}.{suffix}")
                    member.size = len(content)
                    shard.addfile(member, io.BytesIO(content))
        partial.rename(path)


def run(command, env):
    """Seconds, and the peak of the resident memory in MB."""
    begun = time.time()
    child = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    stderr = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode not in (0, 75):
        sys.exit(f"{command}: {child.returncode}\n{stderr}")
    return time.time() - begun, usage.ru_maxrss / 1000


def weights(run_folder):
    return hashlib.sha256((run_folder / "checkpoints/last/model.safetensors").read_bytes()).hexdigest()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program", type=lambda path: str(pathlib.Path(path).resolve()))
    parser.add_argument("folder", type=lambda path: pathlib.Path(path).resolve())
    parser.add_argument("--images", type=int, default=10_000)
    parser.add_argument("--side", type=int, default=64, help="what images are resized to")
    parser.add_argument("--threads", type=int, default=0)
    parser.add_argument("--kill", action="store_true")
    args = parser.parse_args()
    shards = args.folder / f"shards-{args.images}"
    begun = time.time()
    make(shards, args.images)
    size = sum(path.stat().st_size for path in shards.glob("*.tar"))
    report = lambda **values: print(json.dumps(values), flush=True)
    report(images=args.images, megabytes=round(size / 1e6), made_in_seconds=round(time.time() - begun, 1))
    config = args.folder / "stream.toml"
    # A third of 10,000 images, and two batches.
    memory = max(3_333 * args.side**2 * 3, 2 * 32 * args.side**2 * 15) // 1_000_000 + 1
    config.write_text(CONFIG.format(dir=shards, side=args.side, memory=memory, threads=args.threads))
    report(side=args.side, memory=f"{memory} MB", decoded_megabytes=round(args.images * args.side**2 * 3 / 1e6))
    env = {**os.environ, "REGULUS_DATA": str(args.folder / f"cache-{args.images}"), "RAYON_NUM_THREADS": str(args.threads)}
    # The first call makes the checksum and caches what it finds. The second decodes each image once, for the means of the training split, and does little else.
    inspect = [args.program, "data", "inspect", str(config), "--json"]
    run(inspect, env)
    seconds, memory = run(inspect, env)
    report(what="decoder", images_per_second=round(args.images / seconds), megabytes=round(memory))
    whole = args.folder / f"whole-{args.images}"
    subprocess.run(["rm", "-rf", whole], check=True)
    seconds, memory = run([args.program, "train", str(config), "--run-dir", str(whole), "--no-report"], env)
    epoch = json.loads((whole / "metrics.jsonl").read_text().splitlines()[0])
    report(what="training", images_per_second=round(epoch["images_per_second"]), megabytes=round(memory), seconds_with_measurement=round(seconds))
    few = args.folder / f"few-{args.images}"
    subprocess.run(["rm", "-rf", few], check=True)
    sets = ["data.train_shards=\"train-00000{0..4}.tar\"", "data.memory=\"4 GB\"", "train.epochs=3", "checkpoint.every_steps=0"]
    run([args.program, "train", str(config), "--run-dir", str(few), "--no-report", *[word for key in sets for word in ("--set", key)]], env)
    alone = json.loads((few / "metrics.jsonl").read_text().splitlines()[-1])
    report(what="network alone, 5,000 images in memory", images_per_second=round(alone["images_per_second"]))
    if args.kill:
        cut = args.folder / f"cut-{args.images}"
        subprocess.run(["rm", "-rf", cut], check=True)
        child = subprocess.Popen([args.program, "train", str(config), "--run-dir", str(cut), "--no-report"], env=env, stderr=subprocess.DEVNULL)
        position = cut / "checkpoints/last/position.json"
        steps = args.images // 32 // 2 // 50 * 50
        while not position.exists() or json.loads(position.read_text())["batch"] < steps:
            time.sleep(0.05)
        child.kill()
        child.wait()
        batch = json.loads(position.read_text())["batch"]
        run([args.program, "resume", str(cut), "--no-report"], env)
        report(what="killed", at_batch=batch, same_bits=weights(cut) == weights(whole))


if __name__ == "__main__":
    main()
