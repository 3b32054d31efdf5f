"""Write docs/options.md from the table of options in the package.

    python tests/options.py [--check]

With `--check` nothing is written, and a page that is out of date is an error.
"""

import argparse
import sys
import textwrap
from pathlib import Path

from phalanx.multiprocessing._options import OPTIONS

PAGE = Path(__file__).resolve().parent.parent / "docs" / "options.md"

HEADER = """\
# Options of pools

<!-- Made by tests/options.py from python/phalanx/multiprocessing/_options.py. -->

Each option is an argument of the classes and methods in the last column. An option that
the program does not give is taken from its environment variable, so that a script has
it without a change:

```console
$ PHALANX_PROGRESS=1 PHALANX_RETRIES=2 phalanx run --doors multiprocessing script.py
```

A variable that is set to nothing counts as not set. A value that is not accepted is an
error that names the variable, the value and what is accepted, when the pool is made.
"""


def page() -> str:
    parts = [HEADER]
    parts.append(
        "| argument | variable | accepts | default | argument of |\n"
        "|---|---|---|---|---|\n"
    )
    for option in OPTIONS.values():
        parts[-1] += (
            f"| [`{option.keyword}`](#{option.keyword}) | `{option.variable}` "
            f"| {option.accepts} | {option.default} | {option.where} |\n"
        )
    for option in OPTIONS.values():
        text = "\n".join(textwrap.wrap(option.text, 88, break_on_hyphens=False))
        parts.append(f"## {option.keyword}\n\n{text}\n")
    return "\n".join(parts)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    options = parser.parse_args()
    text = page()
    if not options.check:
        PAGE.write_text(text)
    elif not PAGE.exists() or PAGE.read_text() != text:
        print(f"{PAGE} is out of date: run python tests/options.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
