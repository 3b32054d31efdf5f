"""Write an array as a PNG file, with nothing but the standard library."""

import struct
import zlib

import numpy as np

# Anchor colours of a map that goes from night blue over red to pale yellow.
ANCHORS = np.array(
    [(10, 10, 50), (70, 20, 120), (190, 50, 70), (250, 140, 40), (255, 245, 190)],
    dtype=float,
)


def colours(values: np.ndarray) -> np.ndarray:
    """Map values from 0 to 1 to RGB bytes; the result has one more axis."""
    place = np.clip(values, 0.0, 1.0) * (len(ANCHORS) - 1)
    channels = [
        np.interp(place, range(len(ANCHORS)), ANCHORS[:, channel])
        for channel in range(3)
    ]
    return np.stack(channels, axis=-1).astype(np.uint8)


def write_png(path: str, values: np.ndarray) -> None:
    """Write a 2-D array of values from 0 to 1 as an RGB picture."""
    rgb = colours(values)
    height, width, _ = rgb.shape
    rows = np.zeros((height, 1 + 3 * width), dtype=np.uint8)  # filter byte 0
    rows[:, 1:] = rgb.reshape(height, 3 * width)

    def chunk(kind: bytes, body: bytes) -> bytes:
        check = zlib.crc32(kind + body)
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", check)

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    with open(path, "wb") as file:
        file.write(b"\x89PNG\r\n\x1a\n")
        file.write(chunk(b"IHDR", header))
        file.write(chunk(b"IDAT", zlib.compress(rows.tobytes(), 6)))
        file.write(chunk(b"IEND", b""))
