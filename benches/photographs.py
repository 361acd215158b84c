"""Writes photographs of scikit-image as grey PNG files, those to train on and those held out in a folder each.

    pip install scikit-image pillow
    python3 benches/photographs.py DIR

They are the photographs that come inside the package (0.26.0), so nothing is downloaded; `skimage.data` names their sources and licences. Nine are for training, three for
the test, in DIR/train and DIR/test. Grey is 0.2126 R + 0.7152 G + 0.0722 B, rounded, as Regulus makes it of a colour file.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data

TRAIN = ("astronaut", "brick", "clock", "coins", "grass", "gravel", "moon", "motorcycle", "rocket")
TEST = ("camera", "chelsea", "coffee")
# The file, where it is not named so.
FILES = {"clock": "clock_motion.png", "motorcycle": "motorcycle_left.png", "rocket": "rocket.jpg"}

for split, names in ("train", TRAIN), ("test", TEST):
    folder = Path(sys.argv[1]) / split
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        pixels = np.asarray(Image.open(Path(data.__file__).parent / FILES.get(name, f"{name}.png")), np.float64)
        if pixels.ndim == 3:
            pixels = pixels[..., :3] @ [0.2126, 0.7152, 0.0722]
        Image.fromarray(np.rint(pixels).astype(np.uint8)).save(folder / f"{name}.png")
        print(f"{split}/{name}.png: {pixels.shape[0]}x{pixels.shape[1]}")
