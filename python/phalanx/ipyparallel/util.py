"""Small things that scripts import from here, and progress bars."""

import logging
import re
import socket
import sys
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from .serialize.canning import interactive

__all__ = [
    "Namespace",
    "ReverseDict",
    "abbreviate_profile_dir",
    "compare_datetimes",
    "disambiguate_ip_address",
    "disambiguate_url",
    "ensure_timezone",
    "extract_dates",
    "int_keys",
    "integer_loglevel",
    "interactive",
    "ip_for_host",
    "is_ip",
    "is_url",
    "log_errors",
    "progress",
    "select_random_ports",
    "shlex_join",
    "split_url",
    "utc",
    "utcnow",
    "validate_url",
    "validate_url_container",
]

utc = UTC


class Namespace(dict[str, Any]):
    """A dict whose keys are attributes."""

    def __getattr__(self, key: str) -> Any:
        if key in self:
            return self[key]
        raise AttributeError(key)


class ReverseDict(dict[Any, Any]):
    """A dict that finds keys by their values, too. Values are unique."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__()
        self._reverse: dict[Any, Any] = {}
        for key, value in dict(*args, **kwargs).items():
            self[key] = value

    def __getitem__(self, key: Any) -> Any:
        if dict.__contains__(self, key):
            return dict.__getitem__(self, key)
        return self._reverse[key]

    def __setitem__(self, key: Any, value: Any) -> None:
        if key in self._reverse:
            raise KeyError(f"{key!r} is a value already, of {self._reverse[key]!r}")
        dict.__setitem__(self, key, value)
        self._reverse[value] = key

    def pop(self, key: Any) -> Any:  # type: ignore[override]
        value = dict.pop(self, key)
        self._reverse.pop(value)
        return value

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default


def utcnow() -> datetime:
    """Now, in UTC."""
    return datetime.now(utc)


def ensure_timezone(dt: datetime) -> datetime:
    """A time with a time zone: the local one, if it had none."""
    return dt.astimezone() if dt.tzinfo is None else dt


def compare_datetimes(a: datetime, b: datetime) -> int:
    """-1, 0 or 1, as the first is before, at or after the second."""
    a, b = ensure_timezone(a), ensure_timezone(b)
    return (a > b) - (a < b)


_DATE = re.compile(
    r"^\d{4}-\d{2}-\d{2}[T ]\d{2}:\d{2}:\d{2}(\.\d+)?(Z|[+-]\d{2}:?\d{2})?$"
)


def extract_dates(obj: Any) -> Any:
    """The same with texts that are dates as datetimes, in dicts and lists as well."""
    if isinstance(obj, dict):
        return {key: extract_dates(value) for key, value in obj.items()}
    if isinstance(obj, (list, tuple)):
        return [extract_dates(value) for value in obj]
    if isinstance(obj, str) and _DATE.match(obj):
        return ensure_timezone(datetime.fromisoformat(obj))
    return obj


def int_keys(dikt: dict[Any, Any]) -> dict[Any, Any]:
    """A dict whose keys that are numbers in text (as in JSON) are numbers."""
    for key in [one for one in dikt if isinstance(one, str) and one.isdigit()]:
        number = int(key)
        if number in dikt:
            raise KeyError(f"{number} is there as a number and as text")
        dikt[number] = dikt.pop(key)
    return dikt


def integer_loglevel(loglevel: Any) -> int:
    """A level by its number or its name."""
    try:
        return int(loglevel)
    except ValueError:
        number = getattr(logging, str(loglevel).upper(), None)
        if not isinstance(number, int):
            raise ValueError(f"no log level {loglevel!r}") from None
        return number


def local_logger(logname: str, loglevel: Any = logging.DEBUG) -> logging.Logger:
    """A logger that writes to standard error."""
    logger = logging.getLogger(logname)
    if not logger.handlers:
        handler = logging.StreamHandler()
        handler.setFormatter(
            logging.Formatter("%(asctime)s.%(msecs)03d [%(name)s] %(message)s")
        )
        logger.addHandler(handler)
    logger.setLevel(integer_loglevel(loglevel))
    return logger


def log_errors(f: Callable[..., Any]) -> Callable[..., Any]:
    """A method whose exceptions are logged, and go no further."""
    from functools import wraps

    @wraps(f)
    def logged(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return f(self, *args, **kwargs)
        except Exception:
            logger = getattr(self, "log", None) or logging.getLogger(__name__)
            logger.exception("in %r", f)
            return None

    return logged


def shlex_join(cmd: Iterable[str]) -> str:
    """A command as one would type it."""
    import shlex

    return shlex.join(cmd)


def abbreviate_profile_dir(profile_dir: "str | Path") -> str:
    """The name of a profile, or its path with ``~``."""
    from ._files import profile_name

    name = profile_name(profile_dir)
    home = str(Path.home())
    return "~" + name[len(home) :] if name.startswith(home) else name


# --- addresses ------------------------------------------------------------------------

_URL = re.compile(r"^(?P<protocol>\w+)://(?P<host>[^:/]*|\[[^\]]*\]):(?P<port>\d+|\*)$")


def is_url(url: Any) -> bool:
    """Whether it looks like an address ``PROTOCOL://...``."""
    return isinstance(url, str) and "://" in url


def validate_url(url: str) -> bool:
    """True for an address that may be listened on. Raises ValueError with what is
    wrong."""
    if not isinstance(url, str):
        raise ValueError(f"an address is text, not {url!r}")
    protocol, colon, rest = url.partition("://")
    if not colon or protocol not in ("tcp", "unix", "ipc", "inproc", "tls"):
        raise ValueError(f"{url!r} has no protocol that is known here")
    if protocol in ("tcp", "tls"):
        found = _URL.match(url)
        if found is None:
            raise ValueError(f"{url!r} is not PROTOCOL://HOST:PORT")
        if found["port"] != "*" and not 0 <= int(found["port"]) <= 65535:
            raise ValueError(f"{url!r}: a port is 0 to 65535")
    elif not rest:
        raise ValueError(f"{url!r} names no place")
    return True


def validate_url_container(container: Any) -> None:
    """Raise ValueError unless every address in it is valid."""
    if isinstance(container, str):
        validate_url(container)
    elif isinstance(container, dict):
        for one in container.values():
            validate_url_container(one)
    else:
        for one in container:
            validate_url_container(one)


def split_url(url: str) -> tuple[str, str, str]:
    """Protocol, host and port of an address."""
    found = _URL.match(url)
    if found is None:
        raise ValueError(f"{url!r} is not PROTOCOL://HOST:PORT")
    return found["protocol"], found["host"], found["port"]


def is_ip(location: str) -> bool:
    """Whether it is an IP address in digits."""
    import ipaddress

    try:
        ipaddress.ip_address(location)
    except ValueError:
        return False
    return True


def ip_for_host(host: str) -> str:
    """The IP address of a machine, or its name with a warning if it has none."""
    try:
        return str(socket.gethostbyname_ex(host)[2][0])
    except (OSError, IndexError) as problem:
        import warnings

        warnings.warn(
            f"IPython could not determine IPs for {host}: {problem}",
            RuntimeWarning,
            stacklevel=2,
        )
        return host


def disambiguate_ip_address(ip: str, location: str | None = None) -> str:
    """The address to connect to, for one that was listened on (``0.0.0.0``, ``*``)."""
    if ip not in ("0.0.0.0", "*"):
        return ip
    if not location or location in ("localhost", socket.gethostname()):
        return "127.0.0.1"
    if not is_ip(location):
        location = ip_for_host(location)
    if is_ip(location):
        from .client.client import is_local_ip

        if is_local_ip(location):
            return "127.0.0.1"
    return location


def disambiguate_url(url: str, location: str | None = None) -> str:
    """The same for a whole address; others come back as they are."""
    try:
        protocol, ip, port = split_url(url)
    except ValueError:
        return url
    return f"{protocol}://{disambiguate_ip_address(ip, location)}:{port}"


def select_random_ports(n: int) -> list[int]:
    """So many ports of this machine that were free just now."""
    opened = []
    try:
        for _ in range(n):
            one = socket.socket()
            one.bind(("", 0))
            opened.append(one)
        return [int(one.getsockname()[1]) for one in opened]
    finally:
        for one in opened:
            one.close()


# --- progress -------------------------------------------------------------------------


class _Line:
    """A progress bar in one line of text, where tqdm is not installed."""

    def __init__(self, total: int, desc: str, unit: str) -> None:
        self.total, self.desc, self.unit = total, desc, unit
        self.n = 0
        self.shown = False

    def update(self, n: int = 1) -> None:
        self.n += n
        if sys.stdout is None or not sys.stdout.isatty():
            return
        self.shown = True
        name = f"{self.desc}: " if self.desc else ""
        sys.stdout.write(f"\r{name}{self.n} of {self.total} {self.unit}")
        sys.stdout.flush()

    def close(self) -> None:
        if self.shown:
            self.shown = False
            sys.stdout.write("\n")

    def __enter__(self) -> "_Line":
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()


def progress(*args: Any, widget: Any = None, **kwargs: Any) -> Any:
    """A progress bar of tqdm's, or a line of text where that is not installed.

    In a notebook it is tqdm's widget, where it can be shown. Takes what tqdm takes.
    """
    kwargs.setdefault("file", sys.stdout)
    try:
        if widget or (widget is None and "ipykernel" in sys.modules):
            from tqdm.auto import tqdm  # type: ignore[import-untyped,import-not-found,unused-ignore]
        else:
            from tqdm import tqdm  # type: ignore[import-untyped,import-not-found,unused-ignore]
    except ImportError:
        return _Line(
            kwargs.get("total") or 0, kwargs.get("desc") or "", kwargs.get("unit") or ""
        )
    return tqdm(*args, **kwargs)


def become_dask_worker(address: str, nanny: bool = False, **kwargs: Any) -> None:
    """On an engine: start a worker of Dask beside it."""
    from .client.dask import start_worker

    start_worker(address, nanny, **kwargs)


def stop_distributed_worker() -> None:
    """On an engine: end that worker."""
    from .client.dask import stop_worker

    stop_worker()
