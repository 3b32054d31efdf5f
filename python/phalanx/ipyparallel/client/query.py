"""Records of tasks by a query, in the language of the original's databases."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

__all__ = ["matches", "select"]


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    """Nothing is less or more than a value that is not there."""
    return lambda value, than: value is not None and compare(value, than)


OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "$eq": lambda value, other: value == other,
    "$ne": lambda value, other: value != other,
    "$lt": _ordered(lambda value, than: value < than),
    "$lte": _ordered(lambda value, than: value <= than),
    "$gt": _ordered(lambda value, than: value > than),
    "$gte": _ordered(lambda value, than: value >= than),
    "$in": lambda value, several: value in several,
    # (As there: a value that is not there is not in any list, and not out of one.)
    "$nin": lambda value, several: value is not None and value not in several,
    "$all": lambda value, several: all(one in value for one in several),
    "$mod": lambda value, pair: value % pair[0] == pair[1],
    "$exists": lambda value, wanted: (value is not None) == bool(wanted),
    "$not": lambda value, test: not matches_value(value, test),
}


def matches_value(value: Any, test: Any) -> bool:
    """Whether one value passes: operators, each of them, or equality."""
    if isinstance(test, Mapping) and any(str(key).startswith("$") for key in test):
        for name, operand in test.items():
            if name not in OPERATORS:
                raise ValueError(
                    f"no operator {name!r} in queries; there are "
                    f"{', '.join(sorted(OPERATORS))}"
                )
            if not OPERATORS[name](value, operand):
                return False
        return True
    return bool(value == test)


def matches(record: Mapping[str, Any], query: Mapping[str, Any]) -> bool:
    """Whether a record passes every test."""
    return all(matches_value(record.get(key), test) for key, test in query.items())


def select(
    records: Iterable[dict[str, Any]], query: Mapping[str, Any], keys: Any = None
) -> list[dict[str, Any]]:
    """Those that match; of each these keys, or all but the buffers."""
    found = [record for record in records if matches(record, query)]
    if isinstance(keys, str):
        keys = [keys]
    if keys:
        chosen = {*keys, "msg_id"}
        return [
            {key: record[key] for key in record if key in chosen} for record in found
        ]
    return [
        {key: record[key] for key in record if key not in ("buffers", "result_buffers")}
        for record in found
    ]
