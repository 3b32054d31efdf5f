# The classes of mpi4py.MPI for Cython: `cdef MPI.Comm comm` and `comm.ob_mpi`.
# Of an object only the handle is known, which comes first.

from mpi4py.libmpi cimport (
    MPI_Aint,
    MPI_Comm,
    MPI_Count,
    MPI_Datatype,
    MPI_Errhandler,
    MPI_File,
    MPI_Group,
    MPI_Info,
    MPI_Message,
    MPI_Offset,
    MPI_Op,
    MPI_Request,
    MPI_Session,
    MPI_Status,
    MPI_Win,
)

cdef extern from "mpi4py/mpi4py.h":

    int import_mpi4py() except -1

    ctypedef class mpi4py.MPI.Datatype [object PyMPIDatatypeObject, check_size ignore]:
        cdef MPI_Datatype ob_mpi

    ctypedef class mpi4py.MPI.Status [object PyMPIStatusObject, check_size ignore]:
        cdef MPI_Status ob_mpi

    ctypedef class mpi4py.MPI.Request [object PyMPIRequestObject, check_size ignore]:
        cdef MPI_Request ob_mpi

    ctypedef class mpi4py.MPI.Message [object PyMPIMessageObject, check_size ignore]:
        cdef MPI_Message ob_mpi

    ctypedef class mpi4py.MPI.Op [object PyMPIOpObject, check_size ignore]:
        cdef MPI_Op ob_mpi

    ctypedef class mpi4py.MPI.Group [object PyMPIGroupObject, check_size ignore]:
        cdef MPI_Group ob_mpi

    ctypedef class mpi4py.MPI.Info [object PyMPIInfoObject, check_size ignore]:
        cdef MPI_Info ob_mpi

    ctypedef class mpi4py.MPI.Errhandler [object PyMPIErrhandlerObject, check_size ignore]:
        cdef MPI_Errhandler ob_mpi

    ctypedef class mpi4py.MPI.Session [object PyMPISessionObject, check_size ignore]:
        cdef MPI_Session ob_mpi

    ctypedef class mpi4py.MPI.Comm [object PyMPICommObject, check_size ignore]:
        cdef MPI_Comm ob_mpi

    ctypedef class mpi4py.MPI.Win [object PyMPIWinObject, check_size ignore]:
        cdef MPI_Win ob_mpi

    ctypedef class mpi4py.MPI.File [object PyMPIFileObject, check_size ignore]:
        cdef MPI_File ob_mpi

    ctypedef class mpi4py.MPI.Prequest(Request) [object PyMPIPrequestObject, check_size ignore]:
        pass

    ctypedef class mpi4py.MPI.Grequest(Request) [object PyMPIGrequestObject, check_size ignore]:
        pass

    ctypedef class mpi4py.MPI.Intracomm(Comm) [object PyMPIIntracommObject, check_size ignore]:
        pass

    ctypedef class mpi4py.MPI.Topocomm(Intracomm) [object PyMPITopocommObject, check_size ignore]:
        pass

    ctypedef class mpi4py.MPI.Cartcomm(Topocomm) [object PyMPICartcommObject, check_size ignore]:
        pass

    ctypedef class mpi4py.MPI.Graphcomm(Topocomm) [object PyMPIGraphcommObject, check_size ignore]:
        pass

    ctypedef class mpi4py.MPI.Distgraphcomm(Topocomm) [object PyMPIDistgraphcommObject, check_size ignore]:
        pass

    ctypedef class mpi4py.MPI.Intercomm(Comm) [object PyMPIIntercommObject, check_size ignore]:
        pass

    object PyMPIDatatype_New(MPI_Datatype)
    MPI_Datatype *PyMPIDatatype_Get(object) except NULL

    object PyMPIRequest_New(MPI_Request)
    MPI_Request *PyMPIRequest_Get(object) except NULL

    object PyMPIMessage_New(MPI_Message)
    MPI_Message *PyMPIMessage_Get(object) except NULL

    object PyMPIOp_New(MPI_Op)
    MPI_Op *PyMPIOp_Get(object) except NULL

    object PyMPIGroup_New(MPI_Group)
    MPI_Group *PyMPIGroup_Get(object) except NULL

    object PyMPIInfo_New(MPI_Info)
    MPI_Info *PyMPIInfo_Get(object) except NULL

    object PyMPIErrhandler_New(MPI_Errhandler)
    MPI_Errhandler *PyMPIErrhandler_Get(object) except NULL

    object PyMPISession_New(MPI_Session)
    MPI_Session *PyMPISession_Get(object) except NULL

    object PyMPIComm_New(MPI_Comm)
    MPI_Comm *PyMPIComm_Get(object) except NULL

    object PyMPIWin_New(MPI_Win)
    MPI_Win *PyMPIWin_Get(object) except NULL

    object PyMPIFile_New(MPI_File)
    MPI_File *PyMPIFile_Get(object) except NULL

    object PyMPIStatus_New(MPI_Status *)
    MPI_Status *PyMPIStatus_Get(object) except NULL

