"""The options that take effect when ``phalanx.MPI`` is imported."""


class Rc:
    """Options of ``phalanx.MPI``; set them before its first import.

    The environment variables ``PHALANX_RC_<NAME>`` and ``MPI4PY_RC_<NAME>``
    come before what a program sets here.

    Attributes
    ----------
    initialize : bool
        Initialize MPI at import (default: True).
    threads : bool
        Ask for thread support (default: True).
    thread_level : {"multiple", "serialized", "funneled", "single"}
        The level to ask for (default: "multiple").
    finalize : None or bool
        Finalize MPI at exit (default: None, which means: if it was initialized
        at import).
    fast_reduce : bool
        Reduce objects by a tree instead of gathering them (default: True).
    recv_mprobe : bool
        Receive objects by matched probes (default: True).
    irecv_bufsz : int
        Bytes that ``irecv`` reserves where the transport needs to know
        (default: 32768).
    errors : {"exception", "default", "abort", "fatal"}
        What an MPI error does (default: "exception").
    """

    initialize: bool = True
    threads: bool = True
    thread_level: str = "multiple"
    finalize: bool | None = None
    fast_reduce: bool = True
    recv_mprobe: bool = True
    irecv_bufsz: int = 32768
    errors: str = "exception"

    def __init__(self, **options: object) -> None:
        self(**options)

    def __setattr__(self, name: str, value: object) -> None:
        if not hasattr(type(self), name):
            raise TypeError(f"there is no option {name!r}")
        super().__setattr__(name, value)

    def __call__(self, **options: object) -> None:
        """Set several options; none of them if one does not exist."""
        for name in options:
            if not hasattr(type(self), name):
                raise TypeError(f"there is no option {name!r}")
        for name, value in options.items():
            setattr(self, name, value)

    def __repr__(self) -> str:
        names = list(Rc.__annotations__)
        options = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
        return f"<phalanx.rc {options}>"


rc = Rc()
