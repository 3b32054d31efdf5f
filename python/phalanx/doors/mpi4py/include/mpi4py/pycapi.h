/* What C and C++ code needs of mpi4py's interface, answered by Phalanx.
 *
 *     if (import_mpi4py() < 0) return NULL;
 *     MPI_Comm *comm = PyMPIComm_Get(object);      // NULL and TypeError if it is none
 *     PyObject *object = PyMPIComm_New(handle);    // of the class that fits the handle
 *
 * Everything goes through Python: there is no table of functions to agree about, and
 * the only thing known of objects is that the handle comes first in them. Include the
 * standard ABI's <mpi.h> (`phalanx cc` finds it).
 */
#ifndef PHALANX_MPI4PY_PYCAPI_H
#define PHALANX_MPI4PY_PYCAPI_H

#include <Python.h>
#include <mpi.h>
#include <stdint.h>
#include <string.h>

#if defined(__GNUC__)
#define PHALANX_UNUSED __attribute__((unused))
#else
#define PHALANX_UNUSED
#endif

/* An object of the class `Name`: its handle, and what only Phalanx knows. */
#define PHALANX_OBJECT(Name, Type)                                                             \
    typedef struct {                                                                           \
        PyObject_HEAD                                                                          \
        Type ob_mpi;                                                                           \
    } PyMPI##Name##Object;                                                                     \
    static PyTypeObject *PyMPI##Name##_TypePtr PHALANX_UNUSED = NULL;

/* The handle inside an object of the class or of one derived from it. */
#define PHALANX_GET(Name, Type)                                                                \
    static Type *phalanx_get_##Name(PyObject *object)                                          \
    {                                                                                          \
        if (PyObject_TypeCheck(object, PyMPI##Name##_TypePtr))                                 \
            return &((PyMPI##Name##Object *)object)->ob_mpi;                                   \
        PyErr_Format(PyExc_TypeError, "expected an object of mpi4py.MPI." #Name ", not of %s", \
                     Py_TYPE(object)->tp_name);                                                \
        return NULL;                                                                           \
    }                                                                                          \
    static Type *(*PyMPI##Name##_Get)(PyObject *)PHALANX_UNUSED = NULL;

#define PHALANX_HANDLE(Name, Type)                                                             \
    PHALANX_OBJECT(Name, Type)                                                                 \
    PHALANX_GET(Name, Type)                                                                    \
    static PyObject *phalanx_new_##Name(Type handle)                                           \
    {                                                                                          \
        return PyObject_CallMethod((PyObject *)PyMPI##Name##_TypePtr, "fromhandle", "K",       \
                                   (unsigned long long)(uintptr_t)handle);                     \
    }                                                                                          \
    static PyObject *(*PyMPI##Name##_New)(Type) PHALANX_UNUSED = NULL;

/* Classes whose objects are those of another one, in the way that Cython writes it. */
#define PHALANX_DERIVED(Name, Base)                                                            \
    typedef struct {                                                                           \
        PyMPI##Base##Object __pyx_base;                                                        \
    } PyMPI##Name##Object;                                                                     \
    static PyTypeObject *PyMPI##Name##_TypePtr PHALANX_UNUSED = NULL;

PHALANX_HANDLE(Datatype, MPI_Datatype)
PHALANX_HANDLE(Request, MPI_Request)
PHALANX_HANDLE(Message, MPI_Message)
PHALANX_HANDLE(Op, MPI_Op)
PHALANX_HANDLE(Group, MPI_Group)
PHALANX_HANDLE(Info, MPI_Info)
PHALANX_HANDLE(Errhandler, MPI_Errhandler)
PHALANX_HANDLE(Session, MPI_Session)
PHALANX_HANDLE(Comm, MPI_Comm)
PHALANX_HANDLE(Win, MPI_Win)
PHALANX_HANDLE(File, MPI_File)
PHALANX_DERIVED(Prequest, Request)
PHALANX_DERIVED(Grequest, Request)
PHALANX_DERIVED(Intracomm, Comm)
PHALANX_DERIVED(Topocomm, Intracomm)
PHALANX_DERIVED(Cartcomm, Topocomm)
PHALANX_DERIVED(Graphcomm, Topocomm)
PHALANX_DERIVED(Distgraphcomm, Topocomm)
PHALANX_DERIVED(Intercomm, Comm)

PHALANX_OBJECT(Status, MPI_Status)
PHALANX_GET(Status, MPI_Status)
static PyObject *phalanx_new_Status(MPI_Status *status)
{
    PyObject *object = PyObject_CallFunction((PyObject *)PyMPIStatus_TypePtr, NULL);
    if (object != NULL && status != NULL) ((PyMPIStatusObject *)object)->ob_mpi = *status;
    return object;
}
static PyObject *(*PyMPIStatus_New)(MPI_Status *)PHALANX_UNUSED = NULL;

#define PyMPIDatatype_Type (*PyMPIDatatype_TypePtr)
#define PyMPIStatus_Type (*PyMPIStatus_TypePtr)
#define PyMPIRequest_Type (*PyMPIRequest_TypePtr)
#define PyMPIPrequest_Type (*PyMPIPrequest_TypePtr)
#define PyMPIGrequest_Type (*PyMPIGrequest_TypePtr)
#define PyMPIMessage_Type (*PyMPIMessage_TypePtr)
#define PyMPIOp_Type (*PyMPIOp_TypePtr)
#define PyMPIGroup_Type (*PyMPIGroup_TypePtr)
#define PyMPIInfo_Type (*PyMPIInfo_TypePtr)
#define PyMPIErrhandler_Type (*PyMPIErrhandler_TypePtr)
#define PyMPISession_Type (*PyMPISession_TypePtr)
#define PyMPIComm_Type (*PyMPIComm_TypePtr)
#define PyMPIIntracomm_Type (*PyMPIIntracomm_TypePtr)
#define PyMPITopocomm_Type (*PyMPITopocomm_TypePtr)
#define PyMPICartcomm_Type (*PyMPICartcomm_TypePtr)
#define PyMPIGraphcomm_Type (*PyMPIGraphcomm_TypePtr)
#define PyMPIDistgraphcomm_Type (*PyMPIDistgraphcomm_TypePtr)
#define PyMPIIntercomm_Type (*PyMPIIntercomm_TypePtr)
#define PyMPIWin_Type (*PyMPIWin_TypePtr)
#define PyMPIFile_Type (*PyMPIFile_TypePtr)

/* The class of a name, kept for good; 0, or -1 with an exception. */
static int phalanx_import_class(PyObject *module, const char *name, PyTypeObject **place)
{
    PyObject *found = PyObject_GetAttrString(module, name);
    if (found == NULL) return -1;
    *place = (PyTypeObject *)found;
    return 0;
}

#define PHALANX_CLASS(Name)                                                                    \
    if (phalanx_import_class(module, #Name, &PyMPI##Name##_TypePtr) < 0) goto failed;
#define PHALANX_FUNCTIONS(Name)                                                                \
    PHALANX_CLASS(Name)                                                                        \
    PyMPI##Name##_New = phalanx_new_##Name;                                                    \
    PyMPI##Name##_Get = phalanx_get_##Name;

/* Makes the names of this header usable; 0, or -1 with an exception. */
static int import_mpi4py(void) PHALANX_UNUSED;
static int import_mpi4py(void)
{
    const char *name;
    PyObject *module = PyImport_ImportModule("mpi4py.MPI");
    if (module == NULL) return -1;
    /* Another mpi4py has other objects. */
    name = PyModule_GetName(module);
    if (name == NULL) goto failed;
    if (strcmp(name, "phalanx.MPI") != 0) {
        PyErr_SetString(PyExc_ImportError,
                        "this extension was compiled for the mpi4py of Phalanx, and another one is "
                        "imported here: run it under `phalanx run`, or compile it for that one");
        goto failed;
    }
    PHALANX_FUNCTIONS(Datatype)
    PHALANX_FUNCTIONS(Status)
    PHALANX_FUNCTIONS(Request)
    PHALANX_FUNCTIONS(Message)
    PHALANX_FUNCTIONS(Op)
    PHALANX_FUNCTIONS(Group)
    PHALANX_FUNCTIONS(Info)
    PHALANX_FUNCTIONS(Errhandler)
    PHALANX_FUNCTIONS(Session)
    PHALANX_FUNCTIONS(Comm)
    PHALANX_FUNCTIONS(Win)
    PHALANX_FUNCTIONS(File)
    PHALANX_CLASS(Prequest)
    PHALANX_CLASS(Grequest)
    PHALANX_CLASS(Intracomm)
    PHALANX_CLASS(Topocomm)
    PHALANX_CLASS(Cartcomm)
    PHALANX_CLASS(Graphcomm)
    PHALANX_CLASS(Distgraphcomm)
    PHALANX_CLASS(Intercomm)
    Py_DECREF(module);
    return 0;
failed:
    Py_DECREF(module);
    return -1;
}

#endif /* PHALANX_MPI4PY_PYCAPI_H */
