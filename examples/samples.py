"""Statistics of many samples: how long are the lines of Python's library?

    python examples/samples.py [FOLDER] [--suffix .py]

A pool measures the lines of every file, one array per file; then it computes the
moments of all the samples, chunk by chunk, and how sure one can be of the median
(by drawing the samples again, many times). NumPy on the whole array checks it.
"""

import argparse
import os
import sysconfig
import time
from pathlib import Path

import numpy as np
import phalanx.multiprocessing as mp
from arguments import folder

CHUNKS, RESAMPLES = 64, 200


def line_lengths(path: str) -> np.ndarray:
    """The length in bytes of every line that is not blank."""
    lines = Path(path).read_bytes().splitlines()
    return np.array([len(line) for line in lines if line.strip()], dtype=np.int64)


def power_sums(chunk: np.ndarray) -> np.ndarray:
    """How many samples, their sum, the sums of their squares and cubes."""
    return np.array([np.sum(chunk**power) for power in range(4)])


def resampled_median(samples: np.ndarray, seed: int) -> float:
    """The median of as many samples, drawn with replacement."""
    generator = np.random.default_rng(seed)
    return float(np.median(generator.choice(samples, len(samples))))


def find_files(top: str, suffix: str) -> list[str]:
    return sorted(
        os.path.join(parent, name)
        for parent, _, names in os.walk(top)
        for name in names
        if name.endswith(suffix) and os.path.isfile(os.path.join(parent, name))
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    default = sysconfig.get_path("stdlib")
    parser.add_argument("folder", nargs="?", type=folder, default=default)
    parser.add_argument("--suffix", default=".py", help="which files (default .py)")
    options = parser.parse_args()

    files = find_files(options.folder, options.suffix)
    if not files:
        raise SystemExit(f"no files end in {options.suffix} in {options.folder}")
    start = time.perf_counter()
    with mp.Pool() as pool:
        samples = np.concatenate(pool.map(line_lengths, files))
        if not len(samples):
            raise SystemExit(f"only blank lines in {options.folder}")
        count, total, squares, cubes = sum(
            pool.map(power_sums, np.array_split(samples, CHUNKS))
        )
        part = samples[:: max(len(samples) // 20_000, 1)]
        seeds = range(RESAMPLES)
        medians = pool.starmap(resampled_median, [(part, seed) for seed in seeds])
    elapsed = time.perf_counter() - start

    mean = total / count
    variance = squares / count - mean**2
    third = cubes / count - 3 * mean * variance - mean**3
    skewness = third / variance**1.5 if variance else 0.0
    low, high = np.quantile(medians, [0.025, 0.975])
    print(f"{len(files):,} files, {count:,} lines that are not blank")
    print(f"mean {mean:.3f} bytes, deviation {variance**0.5:.3f}, skew {skewness:.2f}")
    print(f"median {np.median(part):.0f}, with 95 % between {low:.0f} and {high:.0f}")
    print(f"{elapsed:.2f} s on {mp.cpu_count()} workers")

    good = count == len(samples) and np.isclose(mean, samples.mean())
    if not good or not np.isclose(variance, samples.var()):
        raise SystemExit("NumPy on the whole array differs")
    print("NumPy on the whole array agrees")


if __name__ == "__main__":
    main()
