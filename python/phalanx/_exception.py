"""The exception classes of ``phalanx.MPI``, which a native class cannot be.

(Under the stable ABI of Python 3.11 no native class derives from `RuntimeError`.) The
extension imports this module when it is loaded, and gives the classes its name.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

_UNKNOWN = 14


def make_classes(
    module: str,
    Get_error_class: "Callable[[int], int]",
    Get_error_string: "Callable[[int], str]",
) -> tuple[type, type]:
    """Return `Exception` and the class for what the library does not implement."""

    class Exception(RuntimeError):
        """Exception(ierr: int = SUCCESS, /)

        An MPI call returned an error code. Compares, hashes and converts as that code.
        """

        __module__ = module
        __qualname__ = "Exception"

        # What happened, where not the library says it.
        _told = ""

        def __init__(self, ierr: int = 0, /) -> None:
            ierr = ierr.__index__()
            super().__init__(_UNKNOWN if ierr < 0 else ierr)

        def __int__(self) -> int:
            code: int = self.args[0]
            return code

        def __bool__(self) -> bool:
            return int(self) != 0

        def __hash__(self) -> int:
            return hash(self.args[0])

        def __eq__(self, other: object, /) -> bool:
            code = int(other) if isinstance(other, Exception) else other
            same: bool = self.args[0] == code
            return same

        def __ne__(self, other: object, /) -> bool:
            return not self == other

        def __lt__(self, other: int, /) -> bool:
            return int(self) < int(other)

        def __le__(self, other: int, /) -> bool:
            return int(self) <= int(other)

        def __gt__(self, other: int, /) -> bool:
            return int(self) > int(other)

        def __ge__(self, other: int, /) -> bool:
            return int(self) >= int(other)

        def __repr__(self) -> str:
            return f"MPI.Exception({self.args[0]})"

        def __str__(self) -> str:
            return self.Get_error_string()

        def Get_error_code(self) -> int:
            """Get_error_code(self) -> int

            Return the error code.
            """
            return int(self)

        def Get_error_class(self) -> int:
            """Get_error_class(self) -> int

            Return the class the error code belongs to, one of the `ERR_` constants.
            """
            return Get_error_class(int(self))

        def Get_error_string(self) -> str:
            """Get_error_string(self) -> str

            Return the library's text for the error code.
            """
            return self._told or Get_error_string(int(self))

        error_code = property(Get_error_code, doc="Error code.")
        error_class = property(Get_error_class, doc="Error class.")
        error_string = property(Get_error_string, doc="Error string.")

    class Unsupported(Exception, NotImplementedError):
        """The MPI library does not implement the operation."""

        __module__ = module
        __qualname__ = "Exception"

    Unsupported.__name__ = "Exception"
    return Exception, Unsupported
