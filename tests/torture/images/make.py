"""Made the images of this folder.

    pip install pillow
    python3 tests/torture/images/make.py
"""

import random
from pathlib import Path

from PIL import Image

OUT = Path(__file__).parent
draw = random.Random(5)


def noise(mode, width, height):
    channels = {"L": 1, "RGB": 3, "RGBA": 4}[mode]
    return Image.frombytes(mode, (width, height), draw.randbytes(width * height * channels))


grey, colour, alpha, small = noise("L", 20, 24), noise("RGB", 18, 20), noise("RGBA", 12, 14), noise("RGB", 12, 12)
grey.save(OUT / "grey.png")
alpha.save(OUT / "alpha.png")
colour.quantize(16).save(OUT / "palette.png")
grey.convert("1").save(OUT / "bits.png")
colour.save(OUT / "baseline.jpg", quality=80)
colour.save(OUT / "progressive.jpg", quality=80, progressive=True)
colour.save(OUT / "restart.jpg", quality=80, restart_marker_blocks=2)
grey.save(OUT / "grey.jpg", quality=90)
colour.quantize(32).save(OUT / "still.gif")
colour.quantize(16).save(OUT / "moving.gif", save_all=True, append_images=[noise("RGB", 18, 20).quantize(16)])
small.save(OUT / "colour.bmp")
grey.save(OUT / "grey.bmp")
for compression in ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits"):
    small.save(OUT / f"{compression.removeprefix('tiff_').removeprefix('adobe_')}.tiff", compression=compression)
colour.save(OUT / "lossy.webp", quality=80)
small.save(OUT / "lossless.webp", lossless=True)
alpha.save(OUT / "alpha.webp", quality=70)
grey.save(OUT / "grey.pgm")
small.save(OUT / "colour.ppm")
grey.convert("1").save(OUT / "bits.pbm")
