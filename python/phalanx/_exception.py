"""The exception classes of phalanx.MPI (compiled into the extension)."""

_UNKNOWN = 14


class Exception(RuntimeError):
    """Exception(ierr: int = SUCCESS, /)

    An MPI call returned an error code. Compares, hashes and converts as that code.
    """

    def __init__(self, ierr=0, /):
        ierr = ierr.__index__()
        super().__init__(_UNKNOWN if ierr < 0 else ierr)

    def __int__(self):
        return self.args[0]

    def __bool__(self):
        return self.args[0] != 0

    def __hash__(self):
        return hash(self.args[0])

    def __eq__(self, other, /):
        return self.args[0] == (int(other) if isinstance(other, Exception) else other)

    def __ne__(self, other, /):
        return not self == other

    def __lt__(self, other, /):
        return self.args[0] < int(other)

    def __le__(self, other, /):
        return self.args[0] <= int(other)

    def __gt__(self, other, /):
        return self.args[0] > int(other)

    def __ge__(self, other, /):
        return self.args[0] >= int(other)

    def __repr__(self):
        return f"MPI.Exception({self.args[0]})"

    def __str__(self):
        return self.Get_error_string()

    def Get_error_code(self):
        """Get_error_code(self) -> int

        Return the error code.
        """
        return self.args[0]

    def Get_error_class(self):
        """Get_error_class(self) -> int

        Return the class the error code belongs to, one of the `ERR_` constants.
        """
        return Get_error_class(self.args[0])

    def Get_error_string(self):
        """Get_error_string(self) -> str

        Return the library's text for the error code.
        """
        return Get_error_string(self.args[0])

    error_code = property(Get_error_code, doc="Error code.")
    error_class = property(Get_error_class, doc="Error class.")
    error_string = property(Get_error_string, doc="Error string.")


class _UnsupportedOperation(Exception, NotImplementedError):
    """The MPI library does not implement the operation."""


_UnsupportedOperation.__name__ = _UnsupportedOperation.__qualname__ = "Exception"
