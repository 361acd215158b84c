"""Small files that promise or unpack to far more than they hold: refused, or read, within the memory and the time that are allowed."""

import struct
import zlib

import experiment
import images
from files import CIFAR, cifar, gz, judge, packed
from program import MEMORY_LIMIT, share_of, stream


MIB = 1 << 20


def deflated(size):
    """That many zeros as a deflate stream, without header or checksum. Most of it is one block, again and again."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(MIB)) + packer.flush(zlib.Z_FULL_FLUSH)
    return block * (size // MIB) + packer.compress(bytes(size % MIB)) + packer.flush()


def zlib_zeros(size):
    return b"\x78\xda" + deflated(size) + struct.pack(">I", size % 65521 << 16 | 1)


def gzip_zeros(size):
    checksum = 0
    for start in range(0, size, MIB):
        checksum = zlib.crc32(bytes(min(MIB, size - start)), checksum)
    return b"\x1f\x8b\x08" + bytes(7) + deflated(size) + struct.pack("<II", checksum, size & 0xFFFFFFFF)


def png_part(kind, content):
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width, height, depth, colour, rows):
    channels = {0: 1, 2: 3, 3: 1, 6: 4}[colour]
    row = 1 + (width * channels * depth + 7) // 8
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + png_part(b"IHDR", header) + png_part(b"IDAT", zlib_zeros(row * rows)) + png_part(b"IEND", b"")


def png_text_bomb():
    """A whole image beside a compressed text of 1 GiB."""
    whole = png(4, 4, 8, 0, 4)
    chunk = png_part(b"zTXt", b"Comment\0\0" + zlib_zeros(1 << 30))
    return whole[:33] + chunk + whole[33:]


def tiff(width, height, samples, compression, strip):
    entries = [(256, 4, width), (257, 4, height), (258, 3, 8), (259, 3, compression), (262, 3, 2 if samples == 3 else 1), (273, 4, 8), (277, 3, samples), (278, 4, height), (279, 4, len(strip))]
    directory = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries) + bytes(4)
    return b"II*\0" + struct.pack("<I", 8 + len(strip)) + strip + directory


def bmp(width, height, bits, compression):
    return b"BM" + struct.pack("<IHHI", 1 << 20, 0, 0, 54) + struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0) + bytes(64)


def gif(width, height, frame):
    screen = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + bytes(6)
    return screen + b"," + struct.pack("<HHHHB", 0, 0, *frame, 0) + b"\x02\x02\x4c\x01\0;"


def webp_lossless(width, height):
    content = b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(16)
    return b"RIFF" + struct.pack("<I", 12 + len(content)) + b"WEBPVP8L" + struct.pack("<I", len(content)) + content + bytes(len(content) % 2)


def webp_canvas(width, height):
    canvas = bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3]
    return b"RIFF" + struct.pack("<I", 22) + b"WEBPVP8X" + struct.pack("<I", 10) + canvas


def jpeg(width, height):
    frame = b"\xff\xc0" + struct.pack(">HBHHB", 17, 8, height, width, 3) + bytes([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0])
    return b"\xff\xd8" + b"\xff\xdb\0\x43\0" + bytes([1] * 64) + frame + b"\xff\xda\0\x0c\x03\1\0\2\0\3\0\0\x3f\0" + bytes(32) + b"\xff\xd9"


# Whole images.
LARGE = {
    "sides-16384-bits.png": lambda: png(16_384, 16_384, 1, 0, 16_384),
    "sides-16384-grey.png": lambda: png(16_384, 16_384, 8, 0, 16_384),
    "sides-11000-rgba.png": lambda: png(11_000, 11_000, 8, 6, 11_000),
    "sides-8000-rgba16.png": lambda: png(8_000, 8_000, 16, 6, 8_000),
    "text.png": png_text_bomb,
    "deflate.tiff": lambda: tiff(13_000, 13_000, 3, 8, zlib_zeros(13_000 * 13_000 * 3)),
    "screen.gif": lambda: gif(65_535, 65_535, (1, 1)),
    "long-comment.pgm": lambda: b"P5 #" + b"x" * (64 << 20) + b"\n1 1 255\n\0",
}
# Headers without the pixels that they promise.
LYING = {
    "sides-60000.png": lambda: png(60_000, 60_000, 8, 2, 1),
    "sides-16384-rgba16.png": lambda: png(16_384, 16_384, 16, 6, 1),
    "sides-largest.tiff": lambda: tiff(0xFFFFFFFF, 0xFFFFFFFF, 3, 1, bytes(64)),
    "sides-16000.tiff": lambda: tiff(16_000, 10_000, 3, 1, bytes(64)),
    "sides-largest.bmp": lambda: bmp(0x7FFFFFFF, -0x7FFFFFFF, 24, 0),
    "runs.bmp": lambda: bmp(16_000, 16_000, 8, 1),
    "screen-16000.gif": lambda: gif(16_000, 8_000, (16_000, 8_000)),
    "sides-16384.webp": lambda: webp_lossless(16_384, 16_384),
    "sides-10000.webp": lambda: webp_lossless(10_000, 10_000),
    "canvas.webp": lambda: webp_canvas(1 << 24, 1 << 24),
    "sides-65500.jpg": lambda: jpeg(65_500, 65_500),
    "sides-12000.jpg": lambda: jpeg(12_000, 12_000),
    "sides-largest.pgm": lambda: b"P5 4294967295 4294967295 255\n" + bytes(64),
    "sides-16000.ppm": lambda: b"P6 16000 10000 255\n" + bytes(64),
    "digits.pgm": lambda: b"P2 16000 16000 255\n" + b"0 " * 64,
}


def run(program, seed, share, tally):
    folder = images.trained(program, stream("data"))
    for name, make in share_of([*LARGE.items(), *LYING.items()], max(share, 0.3), stream(seed, "bombs")):
        (folder / name).write_bytes(make())
        ended = program.run(["predict", "run", "--json", name], folder)
        tally.count("images")
        judge(tally, ended, {0, 3}, [folder / name], f"`{name}` has not the pixels that it promises and is predicted" if name in LYING else None)
        (folder / name).unlink()

    # Headers of a few images, and then more zeros than they promise; and members of gzip without end.
    prepared = experiment.prepare(program.folder("bombs"), stream("data"), experiment.FEW_BYTES)
    images_file, labels_file = prepared / "data" / "train-images", prepared / "data" / "train-labels"
    whole_images, whole_labels = images_file.read_bytes(), labels_file.read_bytes()
    much = gzip_zeros((MEMORY_LIMIT + 512) * MIB)
    bombs = []
    for file, whole, sizes in ((images_file, whole_images, [0xFFFFFFFF, 0xFFFF, 0xFFFF]), (labels_file, whole_labels, [0xFFFFFFFF])):
        # Whole and followed by zeros, nothing but zeros, and a promise of more than any memory.
        bombs += [(file, whole, content) for content in (gz(whole) + much, much, gz(experiment.idx(sizes, b"")) + much)]
    for file, whole, content in share_of(bombs, max(share, 0.3), stream(seed, "idx bombs")):
        file.write_bytes(content)
        ended = program.run(["data", "inspect", "config.toml", "--json"], prepared)
        tally.count("IDX files")
        judge(tally, ended, {3}, [prepared / "config.toml"])
        file.write_bytes(whole)

    archive = program.folder("tar")
    (archive / "config.toml").write_text(CIFAR.format("bomb.tar.gz"))
    (archive / "bomb.tar.gz").write_bytes(b"")
    first = program.run(["data", "inspect", "config.toml"], archive)
    if first.code == 2 and "data.source" in first.stderr:
        tally.note("skipped `.tar.gz`: this program has no source `cifar10`")
        return
    tar = packed(cifar(stream("data")))
    size = bytearray(tar[:512])
    size[124:136] = b"77777777777\0"
    size[148:156] = b" " * 8
    size[148:156] = f"{sum(size):06o}\0 ".encode()
    for content in (gz(tar[:512]) + much, much, gz(bytes(size)) + much, gz(tar) + much):
        (archive / "bomb.tar.gz").write_bytes(content)
        ended = program.run(["data", "inspect", "config.toml", "--json"], archive)
        tally.count("archives")
        judge(tally, ended, {0, 3}, [archive / "config.toml"])
