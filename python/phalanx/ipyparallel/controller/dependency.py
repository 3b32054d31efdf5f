"""What a task needs of an engine, and which tasks it waits for.

``@require`` and ``@depend`` are looked at on the engine: one that does not meet them
rejects the task, which then goes to another. A `Dependency` is a set of tasks; as
``after`` it says when a task may begin, as ``follow`` on which engine.
"""

from collections.abc import Callable, Iterable
from types import FunctionType, ModuleType
from typing import Any

from ..error import UnmetDependency
from ..serialize._functions import namespace, set_namespace

__all__ = ["Dependency", "depend", "dependent", "require"]


class depend:
    """Run a function only on engines where ``f(*args, **kwargs)`` is true.

    ::

        @depend(has_gpu)
        def render(scene): ...
    """

    def __init__(
        self, _wrapped_f: Callable[..., Any], *args: Any, **kwargs: Any
    ) -> None:
        self.f = _wrapped_f
        self.args = args
        self.kwargs = kwargs

    def __call__(self, f: Callable[..., Any]) -> "dependent":
        return dependent(f, self.f, *self.args, **self.kwargs)


class dependent:
    """A function with a condition that is looked at before each call.

    Raises `UnmetDependency` when it does not hold.
    """

    def __init__(
        self,
        _wrapped_f: Callable[..., Any],
        _wrapped_df: Callable[..., Any],
        *dargs: Any,
        **dkwargs: Any,
    ) -> None:
        self.f = _wrapped_f
        self.df = _wrapped_df
        self.dargs = dargs
        self.dkwargs = dkwargs
        self._place: dict[str, Any] | None = None
        self.__name__ = getattr(_wrapped_f, "__name__", "f")
        self.__doc__ = getattr(_wrapped_f, "__doc__", None)

    @property
    def func_name(self) -> str:
        return self.__name__

    def __reduce__(self) -> tuple[object, ...]:
        return _dependent, (self.f, self.df, self.dargs, self.dkwargs)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.check_dependency()
        return self.f(*args, **kwargs)

    def check_dependency(self) -> None:
        """Raise `UnmetDependency` unless the condition holds in this process."""
        before = set_namespace(self._place) if self._place is not None else None
        try:
            met = self.df(*self.dargs, **self.dkwargs)
        finally:
            if self._place is not None:
                set_namespace(before)
        if met is False:
            raise UnmetDependency(f"{self.__name__} cannot run in this process")


def _dependent(
    f: Callable[..., Any],
    df: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
) -> dependent:
    made = dependent(f, df, *args, **kwargs)
    # Its names are those of the function that came with it.
    made._place = namespace()
    return made


def _require(*modules: str, **mapping: Any) -> bool:
    """Import modules, and set names, in the namespace of the tasks."""
    place = namespace()
    for name in modules:
        try:
            place[name.partition(".")[0]] = __import__(name)
        except ImportError:
            return False
    place.update(mapping)
    return True


_require.__module__ = __name__


def require(*objects: Any, **mapping: Any) -> Callable[[Callable[..., Any]], dependent]:
    """Names that a function needs on an engine.

    A string or a module is imported there before the function runs (an engine on which
    that fails rejects the task); functions and classes, and everything that is given by
    keyword, are sent along and set in the engine's namespace.
    """
    names = []
    for thing in objects:
        if isinstance(thing, ModuleType):
            thing = thing.__name__
        if isinstance(thing, str):
            names.append(thing)
        elif isinstance(thing, (FunctionType, type)) or hasattr(thing, "__name__"):
            mapping[thing.__name__] = thing
        else:
            raise TypeError(
                "require takes names of modules, modules, functions and classes, not "
                f"{thing!r}; give other objects by keyword: require(name=object)"
            )
    return depend(_require, *names, **mapping)


class Dependency(set[str]):
    """Tasks that another one waits for, by their ids.

    `dependencies` are ids, results, or futures. With `all`, every one of them has to
    have ended in a way that counts (`success`, `failure`); else one is enough.
    """

    all = True
    success = True
    failure = True

    def __init__(
        self,
        dependencies: Any = [],  # noqa: B006
        all: bool = True,
        success: bool = True,
        failure: bool = False,
    ) -> None:
        if isinstance(dependencies, dict):
            # What `as_dict` gave.
            all = dependencies.get("all", True)
            success = dependencies.get("success", success)
            failure = dependencies.get("failure", failure)
            dependencies = dependencies.get("dependencies", [])
        super().__init__(ids_of(dependencies))
        self.all = all
        if not (success or failure):
            raise ValueError("either success or failure has to count, or both")
        self.success = success
        self.failure = failure

    def _counted(self, completed: set[str], failed: set[str] | None) -> set[str]:
        counted: set[str] = set()
        if self.success:
            counted |= completed
        if self.failure and failed is not None:
            counted |= failed
        return counted

    def check(self, completed: set[str], failed: set[str] | None = None) -> bool:
        """Whether the task may begin, when these have ended."""
        if not self:
            return True
        counted = self._counted(completed, failed)
        return self <= counted if self.all else bool(self & counted)

    def unreachable(self, completed: set[str], failed: set[str] | None = None) -> bool:
        """Whether it can never begin, now that these have ended as they did."""
        if not self:
            return False
        wrong: set[str] = set()
        if not self.success:
            wrong |= completed
        if not self.failure and failed is not None:
            wrong |= failed
        return bool(self & wrong) if self.all else self <= wrong

    def as_dict(self) -> dict[str, Any]:
        """The same as plain values."""
        return {
            "all": self.all,
            "success": self.success,
            "failure": self.failure,
            "dependencies": list(self),
        }


def ids_of(tasks: Any) -> list[str]:
    """The ids of tasks that are given by id, as a result or a future, or in a list."""
    if tasks is None:
        return []
    if isinstance(tasks, str):
        return [tasks]
    ids = getattr(tasks, "msg_ids", None)
    if ids is not None:
        return list(ids)
    single = getattr(tasks, "msg_id", None)
    if single is not None:
        return [single]
    if isinstance(tasks, Iterable):
        return [one for task in tasks for one in ids_of(task)]
    raise TypeError(
        "a dependency is a task's id, its AsyncResult, or a list of these, not "
        f"{tasks!r}"
    )
