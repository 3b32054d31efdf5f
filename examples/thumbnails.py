"""Thumbnails of a folder of images, as many at once as there are CPUs.

    python examples/thumbnails.py [FOLDER] [--count 24]

Makes the images first (grey PGM files of moire patterns), then a PNG thumbnail of
each, by averaging. `imap_unordered` hands over each one as it is ready. An image
that cannot be read is reported, and costs only itself.
"""

import argparse
import functools
import tempfile
import time
from pathlib import Path

import numpy as np
import phalanx.multiprocessing as mp
from picture import write_png

WIDTH, HEIGHT, SHRINK = 1200, 900, 10


def make_image(folder: Path, number: int) -> None:
    """Two sets of rings that cross each other."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    angle = 0.7 * number
    across = 350 * np.array([np.cos(angle), np.sin(angle)])
    near = np.hypot(x - WIDTH / 2 - across[0], y - HEIGHT / 2 - across[1])
    far = np.hypot(x - WIDTH / 2 + across[0], y - HEIGHT / 2 + across[1])
    grey = 127.5 + 63.7 * (np.sin(near / (9 + number % 5)) + np.sin(far / 12))
    header = f"P5\n{WIDTH} {HEIGHT}\n255\n".encode()
    pixels = grey.astype(np.uint8).tobytes()
    (folder / f"rings{number:03}.pgm").write_bytes(header + pixels)


def read_image(path: Path) -> np.ndarray:
    magic, size, _, pixels = path.read_bytes().split(b"\n", 3)
    if magic != b"P5":
        raise ValueError(f"{path.name} is not a binary PGM file")
    width, height = map(int, size.split())
    return np.frombuffer(pixels, np.uint8).reshape(height, width)


def shrink(path: Path) -> tuple[str, float, float] | str:
    """Write the thumbnail; return name and mean grey before and after."""
    try:
        image = read_image(path)
    except ValueError as error:
        return f"skipped: {error}"
    height, width = (length // SHRINK for length in image.shape)
    blocks = image[: height * SHRINK, : width * SHRINK]
    small = blocks.reshape(height, SHRINK, width, SHRINK).mean(axis=(1, 3))
    target = path.with_suffix(".png")
    write_png(str(target), small / 255)
    return target.name, float(image.mean()), float(small.mean())


def run(folder: Path, count: int) -> None:
    start = time.perf_counter()
    with mp.Pool() as pool:
        pool.map(functools.partial(make_image, folder), range(count))
        (folder / "letter.pgm").write_bytes(b"not an image\n\n\n")
        made, done = time.perf_counter(), 0
        for result in pool.imap_unordered(shrink, sorted(folder.glob("*.pgm"))):
            if isinstance(result, str):
                print(result)
                continue
            name, before, after = result
            if abs(before - after) > 1e-6:
                raise SystemExit(f"{name}: mean grey {before} became {after}")
            done += 1
    end = time.perf_counter()
    written = len(list(folder.glob("*.png")))
    if not done == written == count:
        raise SystemExit(f"{done} thumbnails reported, {written} written")
    print(f"{count} images made in {made - start:.2f} s")
    print(f"{done} thumbnails in {end - made:.2f} s, mean grey unchanged")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, help="default: a temporary one")
    parser.add_argument("--count", type=int, default=24, help="images to make")
    options = parser.parse_args()
    if options.folder:
        options.folder.mkdir(parents=True, exist_ok=True)
        run(options.folder, options.count)
    else:
        with tempfile.TemporaryDirectory() as folder:
            run(Path(folder), options.count)


if __name__ == "__main__":
    main()
