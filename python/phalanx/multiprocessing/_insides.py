"""What programs reach for inside of the standard pool.

There are two kinds. Recipes that people copy ("istarmap" is one) put tasks into the
queue of the pool that they are given: `TaskQueue` has such a pool do them. Classes
that override how the standard pool sends its tasks (joblib's is one) mean that pool:
`is_about_insides` tells them.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any, Protocol

    _Task = tuple[int, int, Callable[..., Any], tuple[Any, ...], dict[str, Any]]

    class _Pool(Protocol):
        _cache: dict[int, Any]

        def apply_async(
            self,
            func: Callable[..., Any],
            args: Iterable[Any],
            kwds: dict[str, Any],
            callback: Callable[[Any], object] | None,
            error_callback: Callable[[BaseException], object] | None,
        ) -> Any: ...


__all__ = ["TaskQueue", "is_about_insides"]

_INSIDES = frozenset(
    "_setup_queues _handle_tasks _handle_results _guarded_task_generation "
    "_terminate_pool".split()
)


def is_about_insides(members: Iterable[str]) -> bool:
    """Whether a class with these members changes the insides of the standard pool."""
    return not _INSIDES.isdisjoint(members)


class TaskQueue:
    """The queue of tasks that a standard pool has, as far as others put into it."""

    def __init__(self, pool: _Pool) -> None:
        self._pool = pool

    def put(self, item: tuple[Iterable[_Task], Callable[[int], object] | None]) -> None:
        """Have tasks done; each result goes to the job in the pool's `_cache`."""
        tasks, set_length = item
        count = 0
        for job, number, func, args, kwds in tasks:
            count = number + 1
            self._submit(job, number, func, args, kwds)
        if set_length is not None:
            set_length(count)

    def _submit(self, job: int, number: int, func: Any, args: Any, kwds: Any) -> None:
        def done(good: bool, value: Any) -> None:
            result = self._pool._cache.get(job)
            if result is not None:
                result._set(number, (good, value))

        self._pool.apply_async(
            func,
            args,
            kwds,
            lambda value: done(True, value),
            lambda error: done(False, error),
        )
