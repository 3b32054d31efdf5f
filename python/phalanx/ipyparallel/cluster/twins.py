"""Methods that are coroutines, each with a twin that waits: ``stop()``,
``stop_sync()``."""

import functools
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["with_twins"]

T = TypeVar("T", bound=type)


def with_twins(*names: str) -> Callable[[T], T]:
    """Give a class, for each of its methods ``_NAME``, ``NAME`` and ``NAME_sync``."""

    def decorate(cls: T) -> T:
        for name in names:
            function = getattr(cls, f"_{name}")
            _add(cls, name, function)
        return cls

    return decorate


def _add(cls: type, name: str, function: Callable[..., Any]) -> None:
    @functools.wraps(function)
    async def later(self: Any, *args: Any, **kwargs: Any) -> Any:
        import asyncio

        # What it waits for is waited for beside the loop, which goes on.
        return await asyncio.to_thread(getattr(self, f"_{name}"), *args, **kwargs)

    @functools.wraps(function)
    def now(self: Any, *args: Any, **kwargs: Any) -> Any:
        return getattr(self, f"_{name}")(*args, **kwargs)

    for made, called in ((later, name), (now, f"{name}_sync")):
        made.__name__ = called
        made.__qualname__ = f"{cls.__name__}.{called}"
        if called not in cls.__dict__:
            setattr(cls, called, made)
