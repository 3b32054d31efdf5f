"""Arguments of the examples: a wrong one ends with a sentence and status 2."""

from argparse import ArgumentTypeError
from collections.abc import Callable
from pathlib import Path


def at_least(least: int) -> Callable[[str], int]:
    """A type for argparse: whole numbers from `least` on, 2e6 among them."""

    def parse(text: str) -> int:
        try:
            number = float(text)
            if number != int(number):
                raise ValueError
        except (ValueError, OverflowError):
            raise ArgumentTypeError(f"{text}: expected a whole number") from None
        if number < least:
            raise ArgumentTypeError(f"{text}: expected {least} or more")
        return int(number)

    return parse


def folder(text: str) -> str:
    """A type for argparse: a folder that is there."""
    if not Path(text).is_dir():
        what = "this is a file" if Path(text).exists() else "there is nothing"
        raise ArgumentTypeError(f"{text}: expected a folder, {what}")
    return text


def new_file(text: str) -> str:
    """A type for argparse: a file that can be written, in a folder that is there."""
    if Path(text).is_dir() or not Path(text).parent.is_dir():
        raise ArgumentTypeError(f"{text}: expected a file in a folder that is there")
    return text
