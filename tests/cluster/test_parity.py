"""The public names of ipyparallel 9.2.0 are here, with the same parameters and
defaults.

``tests/parity/cluster.tsv`` says what introspection of the original tells.
"""

import importlib
import inspect
import unittest
from pathlib import Path

import phalanx.ipyparallel as ipp

FACTS = Path(__file__).parents[1] / "parity" / "cluster.tsv"

# What differs, with the reason.
DIFFERENT = {
    "MultipleInstanceError": "is traitlets'",
    "ViewExecutor.shutdown": "takes cancel_futures, as executors do",
    "ParallelMagics.magics": "set for each object",
    "Client.profile": "set for each object",
    "Client.curve_publickey": "there is nothing of ZeroMQ's",
    "Client.curve_secretkey": "there is nothing of ZeroMQ's",
    "Client.curve_serverkey": "there is nothing of ZeroMQ's",
}


def parameters(function: object) -> str:
    """The parameters of a function as the list has them."""
    parts = []
    for one in inspect.signature(function).parameters.values():  # type: ignore[arg-type]
        stars = {one.VAR_POSITIONAL: "*", one.VAR_KEYWORD: "**"}.get(one.kind, "")
        text = stars + one.name
        if one.kind == one.KEYWORD_ONLY:
            text = "|" + text
        if one.default is not one.empty:
            named = getattr(one.default, "__name__", None)
            text += f"={named or repr(one.default)}"
        parts.append(text)
    return ", ".join(parts) or "()"


def find(module: str, path: str) -> object:
    """The object of a line; raises AttributeError when there is none."""
    name = ipp.__name__ if module == "." else f"{ipp.__name__}.{module}"
    found: object = importlib.import_module(name)
    for part in path.split("."):
        if isinstance(found, type) and part not in dir(found):
            noted = any(
                part in vars(base).get("__annotations__", {}) for base in found.__mro__
            )
            options = any(
                part in vars(base).get("OPTIONS", {}) for base in found.__mro__
            )
            source = inspect.getsource(found.__init__)  # type: ignore[misc]
            if (
                noted
                or options
                or f"self.{part} " in source
                or f"self.{part}:" in source
            ):
                return None
        found = getattr(found, part)
    return found


class Parity(unittest.TestCase):
    def test_names_and_parameters(self) -> None:
        lines = [
            line.split("\t")
            for line in FACTS.read_text().splitlines()
            if not line.startswith("#")
        ]
        self.assertGreater(len(lines), 380)
        wrong, unused = [], set(DIFFERENT)
        for module, path, _kind, *signature in lines:
            if path in DIFFERENT:
                unused.discard(path)
                continue
            if module in ("client.magics", "client._joblib") and not self.has(module):
                continue
            try:
                found = find(module, path)
            except AttributeError as problem:
                wrong.append(f"{module} {path}: {problem}")
                continue
            if signature and callable(found):
                bound = parameters(found)
                if bound != signature[0] and f"cls, {bound}" != signature[0]:
                    wrong.append(f"{module} {path}({signature[0]}), here ({bound})")
        self.assertEqual(wrong, [], "\n" + "\n".join(wrong))
        self.assertEqual(unused, set(), "these are not in the list")

    def has(self, module: str) -> bool:
        """Whether what such a module needs is installed."""
        try:
            importlib.import_module(f"{ipp.__name__}.{module}")
        except ImportError:
            return False
        return True


if __name__ == "__main__":
    unittest.main()
