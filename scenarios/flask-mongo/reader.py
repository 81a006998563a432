"""Reads digits off an image: `reader.py IMAGE.pgm` prints the number. Stands for an OCR program.

The image is a plain grey map (PGM, P5) of digits five dots wide and seven high, two dots apart, as the workload draws.
"""

import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

FONT = (
    "01110100011001110101110011000101110", "00100011000010000100001000010001110", "01110100010000100010001000100011111",
    "11111000100010000010000011000101110", "00010001100101010010111110001000010", "11111100001111000001000011000101110",
    "00110010001000011110100011000101110", "11111000010001000100010000100001000", "01110100011000101110100011000101110",
    "01110100011000101111000010001001100",
)  # fmt: skip
WIDE, HIGH, APART = 5, 7, 2


def nearest(dots: str) -> int:
    """The digit that differs from these dots least."""
    return min(range(10), key=lambda digit: sum(a != b for a, b in zip(FONT[digit], dots)))


def read(path: Path) -> str:
    """The digits on the image."""
    kind, width, height, _, *_ = (content := path.read_bytes()).split(maxsplit=4)
    if kind != b"P5" or int(height) != HIGH:
        raise ValueError("not such an image")
    pixels = content[-int(width) * HIGH :]
    cells = range(0, int(width), WIDE + APART)
    dots = ["".join("01"[pixels[y * int(width) + x + at] > 127] for y in range(HIGH) for x in range(WIDE)) for at in cells]
    with ThreadPoolExecutor(2) as threads:
        return "".join(map(str, threads.map(nearest, dots)))


if __name__ == "__main__":
    os.nice(5)
    print(read(Path(sys.argv[1])))
