"""Thumbnails of a folder of images, as many at once as there are CPUs.

    python examples/thumbnails.py [FOLDER] [--out thumbnails] [--count 24]

Makes a PNG thumbnail of each grey PGM file in FOLDER, by averaging, in a subfolder.
Without FOLDER it makes the images first (moire patterns), in a temporary folder.
`imap_unordered` hands over each thumbnail as it is ready. An image that cannot be
read is reported, and costs only itself.
"""

import argparse
import functools
import re
import tempfile
import time
from pathlib import Path

import numpy as np
import phalanx.multiprocessing as mp
from arguments import at_least, folder
from picture import write_png

WIDTH, HEIGHT, SHRINK = 1200, 900, 10
HEADER = re.compile(rb"P5\s+(?:#.*\n\s*)*(\d+)\s+(\d+)\s+255\s")  # one byte a pixel


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


def make_images(source: Path, count: int) -> None:
    start = time.perf_counter()
    with mp.Pool() as pool:
        pool.map(functools.partial(make_image, source), range(count))
    (source / "letter.pgm").write_bytes(b"not an image")
    print(f"{count} images made in {time.perf_counter() - start:.2f} s")


def read_image(path: Path) -> np.ndarray:
    data = path.read_bytes()
    header = HEADER.match(data)
    if not header:
        raise ValueError(f"{path.name} is not a binary PGM file of 8 bits")
    width, height = map(int, header.groups())
    if min(width, height) < SHRINK or len(data) - header.end() != width * height:
        raise ValueError(f"{path.name} is too small, or not whole")
    return np.frombuffer(data, np.uint8, offset=header.end()).reshape(height, width)


def shrink(target: Path, path: Path) -> tuple[str, float, float] | str:
    """Write the thumbnail; return name and mean grey before and after."""
    try:
        image = read_image(path)
    except (OSError, ValueError) as error:
        return f"skipped: {error}"
    height, width = (length // SHRINK for length in image.shape)
    blocks = image[: height * SHRINK, : width * SHRINK]
    small = blocks.reshape(height, SHRINK, width, SHRINK).mean(axis=(1, 3))
    write_png(str(target / f"{path.stem}.png"), small / 255)
    return path.name, float(blocks.mean()), float(small.mean())


def run(images: list[Path], target: Path) -> None:
    start, done = time.perf_counter(), 0
    with mp.Pool() as pool:
        for result in pool.imap_unordered(functools.partial(shrink, target), images):
            if isinstance(result, str):
                print(result)
                continue
            name, before, after = result
            if abs(before - after) > 1e-6:
                raise SystemExit(f"{name}: mean grey {before} became {after}")
            done += 1
    if not done:
        raise SystemExit(f"none of {len(images)} .pgm files can be read")
    print(f"{done} thumbnails in {time.perf_counter() - start:.2f} s, same mean grey")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=folder, help="images to read")
    parser.add_argument("--out", default="thumbnails", help="subfolder to write into")
    parser.add_argument(
        "--count", type=at_least(1), default=24, help="images to make without FOLDER"
    )
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(options.folder or temporary)
        if not options.folder:
            make_images(source, options.count)
        images = sorted(path for path in source.glob("*.pgm") if path.is_file())
        if not images:
            raise SystemExit(f"no .pgm files in {source}")
        target = source / options.out
        try:
            target.mkdir(exist_ok=True)
        except OSError as error:
            parser.error(f"argument --out: {target}: {error.strerror}")
        run(images, target)


if __name__ == "__main__":
    main()
