/* For SWIG:  %include mpi4py/mpi4py.i  and  %mpi4py_typemap(Comm, MPI_Comm);  */

%{
#include "mpi4py/mpi4py.h"
%}

%init %{
if (import_mpi4py() < 0) {
    return NULL;
}
%}

%define %mpi4py_typemap(Name, Type)
%typemap(in) Type {
    Type *handle = PyMPI##Name##_Get($input);
    if (handle == NULL) SWIG_fail;
    $1 = *handle;
}
%typemap(in) Type * {
    $1 = PyMPI##Name##_Get($input);
    if ($1 == NULL) SWIG_fail;
}
%typemap(typecheck, precedence=SWIG_TYPECHECK_POINTER) Type, Type * {
    $1 = PyObject_TypeCheck($input, &PyMPI##Name##_Type);
}
%typemap(out) Type {
    $result = PyMPI##Name##_New($1);
    if ($result == NULL) SWIG_fail;
}
%enddef
