"""Changing bytes at random. Each change has a name, and is the same for the same random numbers."""

NUMBERS = [b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\xff\xff\xff\x7f", b"\x80\0\0\0", b"\0\0\0\0", b"\xff\xff", b"\0\0", b"\x7f\xff", b"\xff\x7f", b"\0\1\0\0"]


def truncated(draw, data, _):
    return data[: draw.randrange(len(data))]


def flipped(draw, data, _):
    data = bytearray(data)
    for _ in range(draw.choice([1, 1, 1, 2, 8])):
        data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    return bytes(data)


def overwritten(draw, data, _):
    position, length = draw.randrange(len(data)), draw.choice([1, 1, 2, 4, 16])
    value = draw.choice([b"\0", b"\xff", bytes([draw.randrange(256)])])
    return (data[:position] + value * length + data[position + length :])[: len(data)]


def header_number(draw, data, _):
    """A size of the header becomes huge, or 0."""
    position, number = draw.randrange(min(64, len(data))), draw.choice(NUMBERS)
    return data[:position] + number + data[position + len(number) :]


def doubled(draw, data, _):
    start, length = draw.randrange(len(data)), draw.choice([1, 4, 16, 64])
    return data[: start + length] + data[start:]


def cut_out(draw, data, _):
    start, length = draw.randrange(len(data)), draw.choice([1, 4, 16, 64])
    return data[:start] + data[start + length :]


def inserted(draw, data, _):
    start = draw.randrange(len(data) + 1)
    return data[:start] + draw.randbytes(draw.choice([1, 2, 8, 64])) + data[start:]


def spliced(draw, data, others):
    """The beginning of one file and the end of another."""
    other = draw.choice(others)
    return data[: draw.randrange(len(data))] + other[draw.randrange(len(other)) :]


ALL = [truncated, truncated, flipped, flipped, flipped, overwritten, header_number, header_number, doubled, cut_out, inserted, spliced]


def mutated(draw, data, others):
    """The changed bytes, never those given, and whether they are a beginning of them."""
    while True:
        change = draw.choice(ALL)
        new = change(draw, data, others)
        if new != data:
            return new, data.startswith(new)
