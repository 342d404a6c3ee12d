"""Images for the tests of slides and tiles: stained texture drawn by a seed, and a tiled TIFF written byte by byte."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

TILE = 128
"""Edge of a tile of the TIFFs written here."""

SHORT, LONG, RATIONAL = 3, 4, 5


def tissue(height: int, width: int, seed: int = 0, *, grain: int = 8, red: float = 200.0) -> np.ndarray:
    """Pink with violet grains of some size, uint8 (height, width, 3)."""
    rng = np.random.default_rng(seed)
    coarse = rng.random((height // grain + 2, width // grain + 2)).astype(np.float32)
    soft = Image.fromarray((coarse * 255).astype(np.uint8)).resize((width, height), Image.Resampling.BICUBIC)
    grains = np.asarray(soft, dtype=np.float32)[..., None] / 255
    pink, violet = np.array([red + 20, 140, 190]), np.array([red - 90, 50, 140])
    noise = rng.normal(0, 4, (height, width, 3))
    return (pink * (1 - grains) + violet * grains + noise).clip(0, 255).astype(np.uint8)


def slide_pixels(height: int = 1024, width: int = 1536, seed: int = 0) -> np.ndarray:
    """A slide: glass with a piece of tissue in its lower right half."""
    pixels = np.full((height, width, 3), 243, dtype=np.uint8)
    pixels[height // 2 :, width // 2 :] = tissue(height - height // 2, width - width // 2, seed)
    return pixels


def write_tiled_tiff(
    path: Path, pixels: np.ndarray, *, mpp: float | None = 0.25, levels: Sequence[int] = (1, 4)
) -> Path:
    """Write a pyramid of uncompressed tiles, one directory a level, as OpenSlide reads it ("generic tiled TIFF")."""
    data = bytearray(b"II*\0\0\0\0\0")
    link = 4
    for level in levels:
        height, width = pixels.shape[0] // level, pixels.shape[1] // level
        small = (
            pixels if level == 1 else np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BOX))
        )
        offsets = []
        for y in range(0, height, TILE):
            for x in range(0, width, TILE):
                piece = np.full((TILE, TILE, 3), 255, dtype=np.uint8)
                part = small[y : y + TILE, x : x + TILE]
                piece[: part.shape[0], : part.shape[1]] = part
                offsets.append(len(data))
                data += piece.tobytes()
        entries: list[tuple[int, int, Sequence[int]]] = [
            (254, LONG, [0 if level == 1 else 1]),
            (256, LONG, [width]),
            (257, LONG, [height]),
            (258, SHORT, [8, 8, 8]),
            (259, SHORT, [1]),
            (262, SHORT, [2]),
            (277, SHORT, [3]),
            (284, SHORT, [1]),
            (322, LONG, [TILE]),
            (323, LONG, [TILE]),
            (324, LONG, offsets),
            (325, LONG, [TILE * TILE * 3] * len(offsets)),
        ]
        if mpp is not None:
            per_cm = round(10_000 / mpp * level**-1)
            entries += [(282, RATIONAL, [per_cm, 1]), (283, RATIONAL, [per_cm, 1]), (296, SHORT, [3])]
        directory = bytearray()
        for tag, kind, values in sorted(entries):
            packed = struct.pack(f"<{len(values)}{'H' if kind == SHORT else 'I'}", *values)
            count = len(values) // (2 if kind == RATIONAL else 1)
            if len(packed) > 4:
                place = struct.pack("<I", len(data))
                data += packed + b"\0" * (len(packed) % 2)
                packed = place
            directory += struct.pack("<HHI", tag, kind, count) + packed.ljust(4, b"\0")
        data += b"\0" * (len(data) % 2)
        struct.pack_into("<I", data, link, len(data))
        data += struct.pack("<H", len(entries)) + directory
        link = len(data)
        data += b"\0\0\0\0"
    path.write_bytes(data)
    return path


def save(path: Path, pixels: np.ndarray) -> Path:
    """Write a PNG, JPEG or plain TIFF by its ending."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return path
