"""Reading 1,000 photographs of 12 megapixels as images of 64×64, beside Pillow's draft mode with one process for each core.

    pip install pillow numpy scikit-image
    python3 benches/reading.py [PHOTOGRAPHS] [ROUNDS]

The photographs are those of scikit-image with fine grain, 4000×3000, quality 85 to 90; 20 files, linked under many names. The program is target/release/regulus, or $REGULUS.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from multiprocessing import Process
from pathlib import Path

import numpy
from PIL import Image
from skimage import data

SIDE = 64
program = Path(os.environ.get("REGULUS", "target/release/regulus")).resolve()
count, rounds = (int(word) for word in [*sys.argv[1:], *["1000", "3"][len(sys.argv) - 1 :]])


def photographs(folder):
    """20 files, each a section of a photograph in another size, turned and with grain of its own."""
    chance = numpy.random.default_rng(1)
    sources = [data.astronaut(), data.coffee(), data.chelsea(), data.rocket()]
    for number in range(20):
        photograph = Image.fromarray(sources[number % len(sources)])
        width, height = photograph.size
        section = (int(width * chance.uniform(0, 0.2)), int(height * chance.uniform(0, 0.2)), width, height)
        large = numpy.asarray(photograph.crop(section).resize((4000, 3000), Image.BICUBIC), dtype=numpy.float32)
        grain = chance.normal(0, 4, (3000, 4000, 1)).astype(numpy.float32)
        pixels = numpy.clip(large + grain, 0, 255).astype(numpy.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg", quality=85 + number % 6)


def by_pillow(paths):
    for path in paths:
        image = Image.open(path)
        image.draft("RGB", (SIDE, SIDE))
        numpy.asarray(image.convert("RGB").resize((SIDE, SIDE), Image.BILINEAR))


def seconds(work):
    begun = time.monotonic()
    work()
    return time.monotonic() - begun


with tempfile.TemporaryDirectory() as work:
    work = Path(work)
    (work / "files").mkdir()
    photographs(work / "files")
    paths = []
    for number in range(count):
        path = work / "set" / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        os.link(work / "files" / f"{number % 20}.jpg", path)
        paths.append(path)
    config = work / "config.toml"
    config.write_text(f'name = "reading"\n[data]\nsource = "folder"\ndir = "{work}/set"\nimage_size = [{SIDE}, {SIDE}]\nimage_channels = 3\n')
    environment = {**os.environ, "REGULUS_DATA": str(work / "cache")}
    cores = len(os.sched_getaffinity(0))

    def pillow():
        processes = [Process(target=by_pillow, args=(paths[core::cores],)) for core in range(cores)]
        [process.start() for process in processes]
        [process.join() for process in processes]

    def regulus():
        subprocess.run([program, "data", "inspect", config], check=True, capture_output=True, env=environment)

    times = {"Pillow": [], "regulus, first start": [], "regulus, second start": []}
    for _ in range(rounds):
        shutil.rmtree(work / "cache", ignore_errors=True)
        for name, what in zip(times, (pillow, regulus, regulus)):
            times[name].append(seconds(what))
    for name, found in times.items():
        print(f"{name}: {statistics.median(found):.2f} s ({min(found):.2f} to {max(found):.2f}) for {count} photographs on {cores} cores")
    print(f"first start over Pillow: {statistics.median(times['regulus, first start']) / statistics.median(times['Pillow']):.2f}")
