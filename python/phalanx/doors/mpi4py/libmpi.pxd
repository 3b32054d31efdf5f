# The C interface of MPI 5.0, standard ABI, for Cython.
# Generated from abi/ by `cargo xtask gen`: do not edit.

cdef extern from "mpi.h" nogil:

    ctypedef Py_ssize_t MPI_Aint
    ctypedef long long MPI_Offset
    ctypedef long long MPI_Count
    ctypedef int MPI_Fint

    ctypedef struct MPI_Status:
        int MPI_SOURCE
        int MPI_TAG
        int MPI_ERROR

    ctypedef struct MPI_F08_status:
        MPI_Fint MPI_SOURCE
        MPI_Fint MPI_TAG
        MPI_Fint MPI_ERROR

    struct MPI_ABI_Comm:
        pass
    ctypedef MPI_ABI_Comm *MPI_Comm
    struct MPI_ABI_Datatype:
        pass
    ctypedef MPI_ABI_Datatype *MPI_Datatype
    struct MPI_ABI_Errhandler:
        pass
    ctypedef MPI_ABI_Errhandler *MPI_Errhandler
    struct MPI_ABI_File:
        pass
    ctypedef MPI_ABI_File *MPI_File
    struct MPI_ABI_Group:
        pass
    ctypedef MPI_ABI_Group *MPI_Group
    struct MPI_ABI_Info:
        pass
    ctypedef MPI_ABI_Info *MPI_Info
    struct MPI_ABI_Message:
        pass
    ctypedef MPI_ABI_Message *MPI_Message
    struct MPI_ABI_Op:
        pass
    ctypedef MPI_ABI_Op *MPI_Op
    struct MPI_ABI_Request:
        pass
    ctypedef MPI_ABI_Request *MPI_Request
    struct MPI_ABI_Session:
        pass
    ctypedef MPI_ABI_Session *MPI_Session
    struct MPI_ABI_Win:
        pass
    ctypedef MPI_ABI_Win *MPI_Win

    ctypedef void MPI_User_function(void *, void *, int *, MPI_Datatype *)
    ctypedef void MPI_User_function_c(void *, void *, MPI_Count *, MPI_Datatype *)
    ctypedef int MPI_Grequest_query_function(void *, MPI_Status *)
    ctypedef int MPI_Grequest_free_function(void *)
    ctypedef int MPI_Grequest_cancel_function(void *, int)
    ctypedef int MPI_Copy_function(MPI_Comm, int, void *, void *, void *, int *)
    ctypedef int MPI_Delete_function(MPI_Comm, int, void *, void *)
    ctypedef int MPI_Comm_copy_attr_function(MPI_Comm, int, void *, void *, void *, int *)
    ctypedef int MPI_Comm_delete_attr_function(MPI_Comm, int, void *, void *)
    ctypedef int MPI_Type_copy_attr_function(MPI_Datatype, int, void *, void *, void *, int *)
    ctypedef int MPI_Type_delete_attr_function(MPI_Datatype, int, void *, void *)
    ctypedef int MPI_Win_copy_attr_function(MPI_Win, int, void *, void *, void *, int *)
    ctypedef int MPI_Win_delete_attr_function(MPI_Win, int, void *, void *)
    ctypedef int MPI_Datarep_extent_function(MPI_Datatype, MPI_Aint *, void *)
    ctypedef int MPI_Datarep_conversion_function(void *, MPI_Datatype, int, void *, MPI_Offset, void *)
    ctypedef int MPI_Datarep_conversion_function_c(void *, MPI_Datatype, MPI_Count, void *, MPI_Offset, void *)
    ctypedef void MPI_Comm_errhandler_function(MPI_Comm *, int *, ...)
    ctypedef void MPI_File_errhandler_function(MPI_File *, int *, ...)
    ctypedef void MPI_Win_errhandler_function(MPI_Win *, int *, ...)
    ctypedef void MPI_Session_errhandler_function(MPI_Session *, int *, ...)
    ctypedef MPI_Comm_errhandler_function MPI_Comm_errhandler_fn
    ctypedef MPI_File_errhandler_function MPI_File_errhandler_fn
    ctypedef MPI_Win_errhandler_function MPI_Win_errhandler_fn
    ctypedef MPI_Session_errhandler_function MPI_Session_errhandler_fn

    enum: MPI_VERSION
    enum: MPI_SUBVERSION
    enum: MPI_ABI_VERSION
    enum: MPI_ABI_SUBVERSION
    MPI_Op MPI_OP_NULL
    MPI_Op MPI_SUM
    MPI_Op MPI_MIN
    MPI_Op MPI_MAX
    MPI_Op MPI_PROD
    MPI_Op MPI_BAND
    MPI_Op MPI_BOR
    MPI_Op MPI_BXOR
    MPI_Op MPI_LAND
    MPI_Op MPI_LOR
    MPI_Op MPI_LXOR
    MPI_Op MPI_MINLOC
    MPI_Op MPI_MAXLOC
    MPI_Op MPI_REPLACE
    MPI_Op MPI_NO_OP
    MPI_Comm MPI_COMM_NULL
    MPI_Comm MPI_COMM_WORLD
    MPI_Comm MPI_COMM_SELF
    MPI_Group MPI_GROUP_NULL
    MPI_Group MPI_GROUP_EMPTY
    MPI_Win MPI_WIN_NULL
    MPI_File MPI_FILE_NULL
    MPI_Session MPI_SESSION_NULL
    MPI_Message MPI_MESSAGE_NULL
    MPI_Message MPI_MESSAGE_NO_PROC
    MPI_Info MPI_INFO_NULL
    MPI_Info MPI_INFO_ENV
    MPI_Errhandler MPI_ERRHANDLER_NULL
    MPI_Errhandler MPI_ERRORS_ARE_FATAL
    MPI_Errhandler MPI_ERRORS_ABORT
    MPI_Errhandler MPI_ERRORS_RETURN
    MPI_Request MPI_REQUEST_NULL
    MPI_Datatype MPI_DATATYPE_NULL
    MPI_Datatype MPI_AINT
    MPI_Datatype MPI_COUNT
    MPI_Datatype MPI_OFFSET
    MPI_Datatype MPI_PACKED
    MPI_Datatype MPI_SHORT
    MPI_Datatype MPI_INT
    MPI_Datatype MPI_LONG
    MPI_Datatype MPI_LONG_LONG
    MPI_Datatype MPI_LONG_LONG_INT
    MPI_Datatype MPI_UNSIGNED_SHORT
    MPI_Datatype MPI_UNSIGNED
    MPI_Datatype MPI_UNSIGNED_LONG
    MPI_Datatype MPI_UNSIGNED_LONG_LONG
    MPI_Datatype MPI_FLOAT
    MPI_Datatype MPI_C_FLOAT_COMPLEX
    MPI_Datatype MPI_C_COMPLEX
    MPI_Datatype MPI_CXX_FLOAT_COMPLEX
    MPI_Datatype MPI_DOUBLE
    MPI_Datatype MPI_C_DOUBLE_COMPLEX
    MPI_Datatype MPI_CXX_DOUBLE_COMPLEX
    MPI_Datatype MPI_LOGICAL
    MPI_Datatype MPI_INTEGER
    MPI_Datatype MPI_REAL
    MPI_Datatype MPI_COMPLEX
    MPI_Datatype MPI_DOUBLE_PRECISION
    MPI_Datatype MPI_DOUBLE_COMPLEX
    MPI_Datatype MPI_CHARACTER
    MPI_Datatype MPI_LONG_DOUBLE
    MPI_Datatype MPI_C_LONG_DOUBLE_COMPLEX
    MPI_Datatype MPI_CXX_LONG_DOUBLE_COMPLEX
    MPI_Datatype MPI_FLOAT_INT
    MPI_Datatype MPI_DOUBLE_INT
    MPI_Datatype MPI_LONG_INT
    MPI_Datatype MPI_2INT
    MPI_Datatype MPI_SHORT_INT
    MPI_Datatype MPI_LONG_DOUBLE_INT
    MPI_Datatype MPI_2REAL
    MPI_Datatype MPI_2DOUBLE_PRECISION
    MPI_Datatype MPI_2INTEGER
    MPI_Datatype MPI_C_BOOL
    MPI_Datatype MPI_CXX_BOOL
    MPI_Datatype MPI_WCHAR
    MPI_Datatype MPI_INT8_T
    MPI_Datatype MPI_UINT8_T
    MPI_Datatype MPI_CHAR
    MPI_Datatype MPI_SIGNED_CHAR
    MPI_Datatype MPI_UNSIGNED_CHAR
    MPI_Datatype MPI_BYTE
    MPI_Datatype MPI_INT16_T
    MPI_Datatype MPI_UINT16_T
    MPI_Datatype MPI_INT32_T
    MPI_Datatype MPI_UINT32_T
    MPI_Datatype MPI_INT64_T
    MPI_Datatype MPI_UINT64_T
    MPI_Datatype MPI_LOGICAL1
    MPI_Datatype MPI_INTEGER1
    MPI_Datatype MPI_LOGICAL2
    MPI_Datatype MPI_INTEGER2
    MPI_Datatype MPI_REAL2
    MPI_Datatype MPI_LOGICAL4
    MPI_Datatype MPI_INTEGER4
    MPI_Datatype MPI_REAL4
    MPI_Datatype MPI_COMPLEX4
    MPI_Datatype MPI_LOGICAL8
    MPI_Datatype MPI_INTEGER8
    MPI_Datatype MPI_REAL8
    MPI_Datatype MPI_COMPLEX8
    MPI_Datatype MPI_LOGICAL16
    MPI_Datatype MPI_INTEGER16
    MPI_Datatype MPI_REAL16
    MPI_Datatype MPI_COMPLEX16
    MPI_Datatype MPI_COMPLEX32
    void* MPI_BOTTOM
    void* MPI_IN_PLACE
    void* MPI_BUFFER_AUTOMATIC
    char** MPI_ARGV_NULL
    char*** MPI_ARGVS_NULL
    int* MPI_ERRCODES_IGNORE
    MPI_Status* MPI_STATUS_IGNORE
    MPI_Status* MPI_STATUSES_IGNORE
    int* MPI_UNWEIGHTED
    int* MPI_WEIGHTS_EMPTY
    enum: MPI_MAX_DATAREP_STRING
    enum: MPI_MAX_ERROR_STRING
    enum: MPI_MAX_INFO_KEY
    enum: MPI_MAX_INFO_VAL
    enum: MPI_MAX_LIBRARY_VERSION_STRING
    enum: MPI_MAX_OBJECT_NAME
    enum: MPI_MAX_PORT_NAME
    enum: MPI_MAX_PROCESSOR_NAME
    enum: MPI_MAX_STRINGTAG_LEN
    enum: MPI_MAX_PSET_NAME_LEN
    enum: MPI_BSEND_OVERHEAD
    MPI_Offset MPI_DISPLACEMENT_CURRENT
    MPI_Copy_function* MPI_NULL_COPY_FN
    MPI_Copy_function* MPI_DUP_FN
    MPI_Delete_function* MPI_NULL_DELETE_FN
    MPI_Comm_copy_attr_function* MPI_COMM_NULL_COPY_FN
    MPI_Comm_copy_attr_function* MPI_COMM_DUP_FN
    MPI_Comm_delete_attr_function* MPI_COMM_NULL_DELETE_FN
    MPI_Type_copy_attr_function* MPI_TYPE_NULL_COPY_FN
    MPI_Type_copy_attr_function* MPI_TYPE_DUP_FN
    MPI_Type_delete_attr_function* MPI_TYPE_NULL_DELETE_FN
    MPI_Win_copy_attr_function* MPI_WIN_NULL_COPY_FN
    MPI_Win_copy_attr_function* MPI_WIN_DUP_FN
    MPI_Win_delete_attr_function* MPI_WIN_NULL_DELETE_FN
    MPI_Datarep_conversion_function* MPI_CONVERSION_FN_NULL
    MPI_Datarep_conversion_function_c* MPI_CONVERSION_FN_NULL_C
    enum: MPI_F_STATUS_SIZE
    enum: MPI_F_SOURCE
    enum: MPI_F_TAG
    enum: MPI_F_ERROR
    enum: MPI_SUCCESS
    enum: MPI_ERR_BUFFER
    enum: MPI_ERR_COUNT
    enum: MPI_ERR_TYPE
    enum: MPI_ERR_TAG
    enum: MPI_ERR_COMM
    enum: MPI_ERR_RANK
    enum: MPI_ERR_REQUEST
    enum: MPI_ERR_ROOT
    enum: MPI_ERR_GROUP
    enum: MPI_ERR_OP
    enum: MPI_ERR_TOPOLOGY
    enum: MPI_ERR_DIMS
    enum: MPI_ERR_ARG
    enum: MPI_ERR_UNKNOWN
    enum: MPI_ERR_TRUNCATE
    enum: MPI_ERR_OTHER
    enum: MPI_ERR_INTERN
    enum: MPI_ERR_PENDING
    enum: MPI_ERR_IN_STATUS
    enum: MPI_ERR_ACCESS
    enum: MPI_ERR_AMODE
    enum: MPI_ERR_ASSERT
    enum: MPI_ERR_BAD_FILE
    enum: MPI_ERR_BASE
    enum: MPI_ERR_CONVERSION
    enum: MPI_ERR_DISP
    enum: MPI_ERR_DUP_DATAREP
    enum: MPI_ERR_FILE_EXISTS
    enum: MPI_ERR_FILE_IN_USE
    enum: MPI_ERR_FILE
    enum: MPI_ERR_INFO_KEY
    enum: MPI_ERR_INFO_NOKEY
    enum: MPI_ERR_INFO_VALUE
    enum: MPI_ERR_INFO
    enum: MPI_ERR_IO
    enum: MPI_ERR_KEYVAL
    enum: MPI_ERR_LOCKTYPE
    enum: MPI_ERR_NAME
    enum: MPI_ERR_NO_MEM
    enum: MPI_ERR_NOT_SAME
    enum: MPI_ERR_NO_SPACE
    enum: MPI_ERR_NO_SUCH_FILE
    enum: MPI_ERR_PORT
    enum: MPI_ERR_QUOTA
    enum: MPI_ERR_READ_ONLY
    enum: MPI_ERR_RMA_ATTACH
    enum: MPI_ERR_RMA_CONFLICT
    enum: MPI_ERR_RMA_RANGE
    enum: MPI_ERR_RMA_SHARED
    enum: MPI_ERR_RMA_SYNC
    enum: MPI_ERR_SERVICE
    enum: MPI_ERR_SIZE
    enum: MPI_ERR_SPAWN
    enum: MPI_ERR_UNSUPPORTED_DATAREP
    enum: MPI_ERR_UNSUPPORTED_OPERATION
    enum: MPI_ERR_WIN
    enum: MPI_ERR_RMA_FLAVOR
    enum: MPI_ERR_PROC_ABORTED
    enum: MPI_ERR_VALUE_TOO_LARGE
    enum: MPI_ERR_SESSION
    enum: MPI_ERR_ERRHANDLER
    enum: MPI_ERR_ABI
    enum: MPI_ERR_LASTCODE
    enum: MPI_MODE_APPEND
    enum: MPI_MODE_CREATE
    enum: MPI_MODE_DELETE_ON_CLOSE
    enum: MPI_MODE_EXCL
    enum: MPI_MODE_RDONLY
    enum: MPI_MODE_RDWR
    enum: MPI_MODE_SEQUENTIAL
    enum: MPI_MODE_UNIQUE_OPEN
    enum: MPI_MODE_WRONLY
    enum: MPI_MODE_NOCHECK
    enum: MPI_MODE_NOPRECEDE
    enum: MPI_MODE_NOPUT
    enum: MPI_MODE_NOSTORE
    enum: MPI_MODE_NOSUCCEED
    enum: MPI_ANY_SOURCE
    enum: MPI_ANY_TAG
    enum: MPI_PROC_NULL
    enum: MPI_ROOT
    enum: MPI_UNDEFINED
    enum: MPI_THREAD_SINGLE
    enum: MPI_THREAD_FUNNELED
    enum: MPI_THREAD_SERIALIZED
    enum: MPI_THREAD_MULTIPLE
    enum: MPI_ORDER_C
    enum: MPI_ORDER_FORTRAN
    enum: MPI_DISTRIBUTE_NONE
    enum: MPI_DISTRIBUTE_BLOCK
    enum: MPI_DISTRIBUTE_CYCLIC
    enum: MPI_DISTRIBUTE_DFLT_DARG
    enum: MPI_COMBINER_NAMED
    enum: MPI_COMBINER_DUP
    enum: MPI_COMBINER_CONTIGUOUS
    enum: MPI_COMBINER_VECTOR
    enum: MPI_COMBINER_HVECTOR
    enum: MPI_COMBINER_INDEXED
    enum: MPI_COMBINER_HINDEXED
    enum: MPI_COMBINER_INDEXED_BLOCK
    enum: MPI_COMBINER_HINDEXED_BLOCK
    enum: MPI_COMBINER_STRUCT
    enum: MPI_COMBINER_SUBARRAY
    enum: MPI_COMBINER_DARRAY
    enum: MPI_COMBINER_F90_REAL
    enum: MPI_COMBINER_F90_COMPLEX
    enum: MPI_COMBINER_F90_INTEGER
    enum: MPI_COMBINER_RESIZED
    enum: MPI_COMBINER_VALUE_INDEX
    enum: MPI_TYPECLASS_INTEGER
    enum: MPI_TYPECLASS_REAL
    enum: MPI_TYPECLASS_COMPLEX
    enum: MPI_IDENT
    enum: MPI_CONGRUENT
    enum: MPI_SIMILAR
    enum: MPI_UNEQUAL
    enum: MPI_CART
    enum: MPI_GRAPH
    enum: MPI_DIST_GRAPH
    enum: MPI_COMM_TYPE_SHARED
    enum: MPI_COMM_TYPE_HW_UNGUIDED
    enum: MPI_COMM_TYPE_HW_GUIDED
    enum: MPI_COMM_TYPE_RESOURCE_GUIDED
    enum: MPI_LOCK_EXCLUSIVE
    enum: MPI_LOCK_SHARED
    enum: MPI_WIN_FLAVOR_CREATE
    enum: MPI_WIN_FLAVOR_ALLOCATE
    enum: MPI_WIN_FLAVOR_DYNAMIC
    enum: MPI_WIN_FLAVOR_SHARED
    enum: MPI_WIN_UNIFIED
    enum: MPI_WIN_SEPARATE
    enum: MPI_SEEK_CUR
    enum: MPI_SEEK_END
    enum: MPI_SEEK_SET
    enum: MPI_KEYVAL_INVALID
    enum: MPI_TAG_UB
    enum: MPI_IO
    enum: MPI_HOST
    enum: MPI_WTIME_IS_GLOBAL
    enum: MPI_APPNUM
    enum: MPI_LASTUSEDCODE
    enum: MPI_UNIVERSE_SIZE
    enum: MPI_WIN_BASE
    enum: MPI_WIN_DISP_UNIT
    enum: MPI_WIN_SIZE
    enum: MPI_WIN_CREATE_FLAVOR
    enum: MPI_WIN_MODEL

    int MPI_Abi_get_fortran_booleans(int, void *, void *, int *)
    int MPI_Abi_get_fortran_info(MPI_Info *)
    int MPI_Abi_get_info(MPI_Info *)
    int MPI_Abi_get_version(int *, int *)
    int MPI_Abi_set_fortran_booleans(int, void *, void *)
    int MPI_Abi_set_fortran_info(MPI_Info)
    MPI_Comm MPI_Comm_fromint(int)
    int MPI_Comm_toint(MPI_Comm)
    MPI_Errhandler MPI_Errhandler_fromint(int)
    int MPI_Errhandler_toint(MPI_Errhandler)
    MPI_File MPI_File_fromint(int)
    int MPI_File_toint(MPI_File)
    MPI_Group MPI_Group_fromint(int)
    int MPI_Group_toint(MPI_Group)
    MPI_Info MPI_Info_fromint(int)
    int MPI_Info_toint(MPI_Info)
    MPI_Message MPI_Message_fromint(int)
    int MPI_Message_toint(MPI_Message)
    MPI_Op MPI_Op_fromint(int)
    int MPI_Op_toint(MPI_Op)
    MPI_Request MPI_Request_fromint(int)
    int MPI_Request_toint(MPI_Request)
    MPI_Session MPI_Session_fromint(int)
    int MPI_Session_toint(MPI_Session)
    MPI_Datatype MPI_Type_fromint(int)
    int MPI_Type_toint(MPI_Datatype)
    MPI_Win MPI_Win_fromint(int)
    int MPI_Win_toint(MPI_Win)
    int MPI_Attr_delete(MPI_Comm, int)
    int MPI_Attr_get(MPI_Comm, int, void *, int *)
    int MPI_Attr_put(MPI_Comm, int, void *)
    int MPI_Comm_create_keyval(MPI_Comm_copy_attr_function *, MPI_Comm_delete_attr_function *, int *, void *)
    int MPI_Comm_delete_attr(MPI_Comm, int)
    int MPI_Comm_free_keyval(int *)
    int MPI_Comm_get_attr(MPI_Comm, int, void *, int *)
    int MPI_Comm_get_name(MPI_Comm, char *, int *)
    int MPI_Comm_set_attr(MPI_Comm, int, void *)
    int MPI_Comm_set_name(MPI_Comm, const char *)
    int MPI_Keyval_create(MPI_Copy_function *, MPI_Delete_function *, int *, void *)
    int MPI_Keyval_free(int *)
    int MPI_Type_create_keyval(MPI_Type_copy_attr_function *, MPI_Type_delete_attr_function *, int *, void *)
    int MPI_Type_delete_attr(MPI_Datatype, int)
    int MPI_Type_free_keyval(int *)
    int MPI_Type_get_attr(MPI_Datatype, int, void *, int *)
    int MPI_Type_get_name(MPI_Datatype, char *, int *)
    int MPI_Type_set_attr(MPI_Datatype, int, void *)
    int MPI_Type_set_name(MPI_Datatype, const char *)
    int MPI_Win_create_keyval(MPI_Win_copy_attr_function *, MPI_Win_delete_attr_function *, int *, void *)
    int MPI_Win_delete_attr(MPI_Win, int)
    int MPI_Win_free_keyval(int *)
    int MPI_Win_get_attr(MPI_Win, int, void *, int *)
    int MPI_Win_get_name(MPI_Win, char *, int *)
    int MPI_Win_set_attr(MPI_Win, int, void *)
    int MPI_Win_set_name(MPI_Win, const char *)
    int MPI_Allgather(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm)
    int MPI_Allgather_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm)
    int MPI_Allgather_init(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Allgather_init_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Allgatherv(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm)
    int MPI_Allgatherv_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm)
    int MPI_Allgatherv_init(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Allgatherv_init_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Allreduce(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Allreduce_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Allreduce_init(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Allreduce_init_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Alltoall(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm)
    int MPI_Alltoall_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm)
    int MPI_Alltoall_init(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Alltoall_init_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Alltoallv(const void *, const int *, const int *, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm)
    int MPI_Alltoallv_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm)
    int MPI_Alltoallv_init(const void *, const int *, const int *, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Alltoallv_init_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Alltoallw(const void *, const int *, const int *, const MPI_Datatype *, void *, const int *, const int *, const MPI_Datatype *, MPI_Comm)
    int MPI_Alltoallw_c(const void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm)
    int MPI_Alltoallw_init(const void *, const int *, const int *, const MPI_Datatype *, void *, const int *, const int *, const MPI_Datatype *, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Alltoallw_init_c(const void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Barrier(MPI_Comm)
    int MPI_Barrier_init(MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Bcast(void *, int, MPI_Datatype, int, MPI_Comm)
    int MPI_Bcast_c(void *, MPI_Count, MPI_Datatype, int, MPI_Comm)
    int MPI_Bcast_init(void *, int, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Bcast_init_c(void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Exscan(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Exscan_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Exscan_init(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Exscan_init_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Gather(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm)
    int MPI_Gather_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm)
    int MPI_Gather_init(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Gather_init_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Gatherv(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, int, MPI_Comm)
    int MPI_Gatherv_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, int, MPI_Comm)
    int MPI_Gatherv_init(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Gatherv_init_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Iallgather(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Iallgather_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Iallgatherv(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Iallgatherv_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Iallreduce(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Iallreduce_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Ialltoall(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ialltoall_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ialltoallv(const void *, const int *, const int *, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ialltoallv_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ialltoallw(const void *, const int *, const int *, const MPI_Datatype *, void *, const int *, const int *, const MPI_Datatype *, MPI_Comm, MPI_Request *)
    int MPI_Ialltoallw_c(const void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm, MPI_Request *)
    int MPI_Ibarrier(MPI_Comm, MPI_Request *)
    int MPI_Ibcast(void *, int, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Ibcast_c(void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Iexscan(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Iexscan_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Igather(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Igather_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Igatherv(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Igatherv_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_allgather(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_allgather_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_allgatherv(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_allgatherv_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_alltoall(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_alltoall_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_alltoallv(const void *, const int *, const int *, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_alltoallv_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_alltoallw(const void *, const int *, const MPI_Aint *, const MPI_Datatype *, void *, const int *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm, MPI_Request *)
    int MPI_Ineighbor_alltoallw_c(const void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm, MPI_Request *)
    int MPI_Ireduce(const void *, void *, int, MPI_Datatype, MPI_Op, int, MPI_Comm, MPI_Request *)
    int MPI_Ireduce_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, int, MPI_Comm, MPI_Request *)
    int MPI_Ireduce_scatter(const void *, void *, const int *, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Ireduce_scatter_block(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Ireduce_scatter_block_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Ireduce_scatter_c(const void *, void *, const MPI_Count *, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Iscan(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Iscan_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Request *)
    int MPI_Iscatter(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Iscatter_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Iscatterv(const void *, const int *, const int *, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Iscatterv_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Request *)
    int MPI_Neighbor_allgather(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_allgather_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_allgather_init(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_allgather_init_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_allgatherv(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_allgatherv_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_allgatherv_init(const void *, int, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_allgatherv_init_c(const void *, MPI_Count, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_alltoall(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_alltoall_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_alltoall_init(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_alltoall_init_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_alltoallv(const void *, const int *, const int *, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_alltoallv_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm)
    int MPI_Neighbor_alltoallv_init(const void *, const int *, const int *, MPI_Datatype, void *, const int *, const int *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_alltoallv_init_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_alltoallw(const void *, const int *, const MPI_Aint *, const MPI_Datatype *, void *, const int *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm)
    int MPI_Neighbor_alltoallw_c(const void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm)
    int MPI_Neighbor_alltoallw_init(const void *, const int *, const MPI_Aint *, const MPI_Datatype *, void *, const int *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Neighbor_alltoallw_init_c(const void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, void *, const MPI_Count *, const MPI_Aint *, const MPI_Datatype *, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Reduce(const void *, void *, int, MPI_Datatype, MPI_Op, int, MPI_Comm)
    int MPI_Reduce_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, int, MPI_Comm)
    int MPI_Reduce_init(const void *, void *, int, MPI_Datatype, MPI_Op, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Reduce_init_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Reduce_scatter(const void *, void *, const int *, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Reduce_scatter_block(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Reduce_scatter_block_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Reduce_scatter_block_init(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Reduce_scatter_block_init_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Reduce_scatter_c(const void *, void *, const MPI_Count *, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Reduce_scatter_init(const void *, void *, const int *, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Reduce_scatter_init_c(const void *, void *, const MPI_Count *, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Scan(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Scan_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm)
    int MPI_Scan_init(const void *, void *, int, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Scan_init_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Scatter(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm)
    int MPI_Scatter_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm)
    int MPI_Scatter_init(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Scatter_init_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Scatterv(const void *, const int *, const int *, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm)
    int MPI_Scatterv_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm)
    int MPI_Scatterv_init(const void *, const int *, const int *, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Scatterv_init_c(const void *, const MPI_Count *, const MPI_Aint *, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Comm_compare(MPI_Comm, MPI_Comm, int *)
    int MPI_Comm_create(MPI_Comm, MPI_Group, MPI_Comm *)
    int MPI_Comm_create_from_group(MPI_Group, const char *, MPI_Info, MPI_Errhandler, MPI_Comm *)
    int MPI_Comm_create_group(MPI_Comm, MPI_Group, int, MPI_Comm *)
    int MPI_Comm_dup(MPI_Comm, MPI_Comm *)
    int MPI_Comm_dup_with_info(MPI_Comm, MPI_Info, MPI_Comm *)
    int MPI_Comm_free(MPI_Comm *)
    int MPI_Comm_get_info(MPI_Comm, MPI_Info *)
    int MPI_Comm_group(MPI_Comm, MPI_Group *)
    int MPI_Comm_idup(MPI_Comm, MPI_Comm *, MPI_Request *)
    int MPI_Comm_idup_with_info(MPI_Comm, MPI_Info, MPI_Comm *, MPI_Request *)
    int MPI_Comm_rank(MPI_Comm, int *)
    int MPI_Comm_remote_group(MPI_Comm, MPI_Group *)
    int MPI_Comm_remote_size(MPI_Comm, int *)
    int MPI_Comm_set_info(MPI_Comm, MPI_Info)
    int MPI_Comm_size(MPI_Comm, int *)
    int MPI_Comm_split(MPI_Comm, int, int, MPI_Comm *)
    int MPI_Comm_split_type(MPI_Comm, int, int, MPI_Info, MPI_Comm *)
    int MPI_Comm_test_inter(MPI_Comm, int *)
    int MPI_Intercomm_create(MPI_Comm, int, MPI_Comm, int, int, MPI_Comm *)
    int MPI_Intercomm_create_from_groups(MPI_Group, int, MPI_Group, int, const char *, MPI_Info, MPI_Errhandler, MPI_Comm *)
    int MPI_Intercomm_merge(MPI_Comm, int, MPI_Comm *)
    MPI_Aint MPI_Aint_add(MPI_Aint, MPI_Aint)
    MPI_Aint MPI_Aint_diff(MPI_Aint, MPI_Aint)
    int MPI_Get_address(const void *, MPI_Aint *)
    int MPI_Get_elements(const MPI_Status *, MPI_Datatype, int *)
    int MPI_Get_elements_c(const MPI_Status *, MPI_Datatype, MPI_Count *)
    int MPI_Get_elements_x(const MPI_Status *, MPI_Datatype, MPI_Count *)
    int MPI_Pack(const void *, int, MPI_Datatype, void *, int, int *, MPI_Comm)
    int MPI_Pack_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Count *, MPI_Comm)
    int MPI_Pack_external(const char *, const void *, int, MPI_Datatype, void *, MPI_Aint, MPI_Aint *)
    int MPI_Pack_external_c(const char *, const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Count *)
    int MPI_Pack_external_size(const char *, int, MPI_Datatype, MPI_Aint *)
    int MPI_Pack_external_size_c(const char *, MPI_Count, MPI_Datatype, MPI_Count *)
    int MPI_Pack_size(int, MPI_Datatype, MPI_Comm, int *)
    int MPI_Pack_size_c(MPI_Count, MPI_Datatype, MPI_Comm, MPI_Count *)
    int MPI_Status_set_elements(MPI_Status *, MPI_Datatype, int)
    int MPI_Status_set_elements_c(MPI_Status *, MPI_Datatype, MPI_Count)
    int MPI_Status_set_elements_x(MPI_Status *, MPI_Datatype, MPI_Count)
    int MPI_Type_commit(MPI_Datatype *)
    int MPI_Type_contiguous(int, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_contiguous_c(MPI_Count, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_darray(int, int, int, const int *, const int *, const int *, const int *, int, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_darray_c(int, int, int, const MPI_Count *, const int *, const int *, const int *, int, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_f90_complex(int, int, MPI_Datatype *)
    int MPI_Type_create_f90_integer(int, MPI_Datatype *)
    int MPI_Type_create_f90_real(int, int, MPI_Datatype *)
    int MPI_Type_create_hindexed(int, const int *, const MPI_Aint *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_hindexed_block(int, int, const MPI_Aint *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_hindexed_block_c(MPI_Count, MPI_Count, const MPI_Count *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_hindexed_c(MPI_Count, const MPI_Count *, const MPI_Count *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_hvector(int, int, MPI_Aint, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_hvector_c(MPI_Count, MPI_Count, MPI_Count, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_indexed_block(int, int, const int *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_indexed_block_c(MPI_Count, MPI_Count, const MPI_Count *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_resized(MPI_Datatype, MPI_Aint, MPI_Aint, MPI_Datatype *)
    int MPI_Type_create_resized_c(MPI_Datatype, MPI_Count, MPI_Count, MPI_Datatype *)
    int MPI_Type_create_struct(int, const int *, const MPI_Aint *, const MPI_Datatype *, MPI_Datatype *)
    int MPI_Type_create_struct_c(MPI_Count, const MPI_Count *, const MPI_Count *, const MPI_Datatype *, MPI_Datatype *)
    int MPI_Type_create_subarray(int, const int *, const int *, const int *, int, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_create_subarray_c(int, const MPI_Count *, const MPI_Count *, const MPI_Count *, int, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_dup(MPI_Datatype, MPI_Datatype *)
    int MPI_Type_free(MPI_Datatype *)
    int MPI_Type_get_contents(MPI_Datatype, int, int, int, int *, MPI_Aint *, MPI_Datatype *)
    int MPI_Type_get_contents_c(MPI_Datatype, MPI_Count, MPI_Count, MPI_Count, MPI_Count, int *, MPI_Aint *, MPI_Count *, MPI_Datatype *)
    int MPI_Type_get_envelope(MPI_Datatype, int *, int *, int *, int *)
    int MPI_Type_get_envelope_c(MPI_Datatype, MPI_Count *, MPI_Count *, MPI_Count *, MPI_Count *, int *)
    int MPI_Type_get_extent(MPI_Datatype, MPI_Aint *, MPI_Aint *)
    int MPI_Type_get_extent_c(MPI_Datatype, MPI_Count *, MPI_Count *)
    int MPI_Type_get_extent_x(MPI_Datatype, MPI_Count *, MPI_Count *)
    int MPI_Type_get_true_extent(MPI_Datatype, MPI_Aint *, MPI_Aint *)
    int MPI_Type_get_true_extent_c(MPI_Datatype, MPI_Count *, MPI_Count *)
    int MPI_Type_get_true_extent_x(MPI_Datatype, MPI_Count *, MPI_Count *)
    int MPI_Type_get_value_index(MPI_Datatype, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_indexed(int, const int *, const int *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_indexed_c(MPI_Count, const MPI_Count *, const MPI_Count *, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_match_size(int, int, MPI_Datatype *)
    int MPI_Type_size(MPI_Datatype, int *)
    int MPI_Type_size_c(MPI_Datatype, MPI_Count *)
    int MPI_Type_size_x(MPI_Datatype, MPI_Count *)
    int MPI_Type_vector(int, int, int, MPI_Datatype, MPI_Datatype *)
    int MPI_Type_vector_c(MPI_Count, MPI_Count, MPI_Count, MPI_Datatype, MPI_Datatype *)
    int MPI_Unpack(const void *, int, int *, void *, int, MPI_Datatype, MPI_Comm)
    int MPI_Unpack_c(const void *, MPI_Count, MPI_Count *, void *, MPI_Count, MPI_Datatype, MPI_Comm)
    int MPI_Unpack_external(const char *, const void *, MPI_Aint, MPI_Aint *, void *, int, MPI_Datatype)
    int MPI_Unpack_external_c(const char *, const void *, MPI_Count, MPI_Count *, void *, MPI_Count, MPI_Datatype)
    int MPI_Close_port(const char *)
    int MPI_Comm_accept(const char *, MPI_Info, int, MPI_Comm, MPI_Comm *)
    int MPI_Comm_connect(const char *, MPI_Info, int, MPI_Comm, MPI_Comm *)
    int MPI_Comm_disconnect(MPI_Comm *)
    int MPI_Comm_get_parent(MPI_Comm *)
    int MPI_Comm_join(int, MPI_Comm *)
    int MPI_Comm_spawn(const char *, char * *, int, MPI_Info, int, MPI_Comm, MPI_Comm *, int *)
    int MPI_Comm_spawn_multiple(int, char * *, char ** *, const int *, const MPI_Info *, int, MPI_Comm, MPI_Comm *, int *)
    int MPI_Lookup_name(const char *, MPI_Info, char *)
    int MPI_Open_port(MPI_Info, char *)
    int MPI_Publish_name(const char *, MPI_Info, const char *)
    int MPI_Unpublish_name(const char *, MPI_Info, const char *)
    int MPI_Abort(MPI_Comm, int)
    int MPI_Alloc_mem(MPI_Aint, MPI_Info, void *)
    int MPI_Finalize()
    int MPI_Finalized(int *)
    int MPI_Free_mem(void *)
    int MPI_Get_hw_resource_info(MPI_Info *)
    int MPI_Get_library_version(char *, int *)
    int MPI_Get_processor_name(char *, int *)
    int MPI_Get_version(int *, int *)
    int MPI_Init(int *, char ***)
    int MPI_Init_thread(int *, char ***, int, int *)
    int MPI_Initialized(int *)
    int MPI_Is_thread_main(int *)
    int MPI_Pcontrol(const int, ...)
    int MPI_Query_thread(int *)
    double MPI_Wtick()
    double MPI_Wtime()
    int MPI_Add_error_class(int *)
    int MPI_Add_error_code(int, int *)
    int MPI_Add_error_string(int, const char *)
    int MPI_Comm_call_errhandler(MPI_Comm, int)
    int MPI_Comm_create_errhandler(MPI_Comm_errhandler_function *, MPI_Errhandler *)
    int MPI_Comm_get_errhandler(MPI_Comm, MPI_Errhandler *)
    int MPI_Comm_set_errhandler(MPI_Comm, MPI_Errhandler)
    int MPI_Errhandler_free(MPI_Errhandler *)
    int MPI_Error_class(int, int *)
    int MPI_Error_string(int, char *, int *)
    int MPI_Remove_error_class(int)
    int MPI_Remove_error_code(int)
    int MPI_Remove_error_string(int)
    int MPI_Session_call_errhandler(MPI_Session, int)
    int MPI_Session_create_errhandler(MPI_Session_errhandler_function *, MPI_Errhandler *)
    int MPI_Session_get_errhandler(MPI_Session, MPI_Errhandler *)
    int MPI_Session_set_errhandler(MPI_Session, MPI_Errhandler)
    int MPI_Win_call_errhandler(MPI_Win, int)
    int MPI_Win_create_errhandler(MPI_Win_errhandler_function *, MPI_Errhandler *)
    int MPI_Win_get_errhandler(MPI_Win, MPI_Errhandler *)
    int MPI_Win_set_errhandler(MPI_Win, MPI_Errhandler)
    int MPI_Group_compare(MPI_Group, MPI_Group, int *)
    int MPI_Group_difference(MPI_Group, MPI_Group, MPI_Group *)
    int MPI_Group_excl(MPI_Group, int, const int *, MPI_Group *)
    int MPI_Group_free(MPI_Group *)
    int MPI_Group_from_session_pset(MPI_Session, const char *, MPI_Group *)
    int MPI_Group_incl(MPI_Group, int, const int *, MPI_Group *)
    int MPI_Group_intersection(MPI_Group, MPI_Group, MPI_Group *)
    int MPI_Group_range_excl(MPI_Group, int, int[][3], MPI_Group *)
    int MPI_Group_range_incl(MPI_Group, int, int[][3], MPI_Group *)
    int MPI_Group_rank(MPI_Group, int *)
    int MPI_Group_size(MPI_Group, int *)
    int MPI_Group_translate_ranks(MPI_Group, int, const int *, MPI_Group, int *)
    int MPI_Group_union(MPI_Group, MPI_Group, MPI_Group *)
    int MPI_Info_create(MPI_Info *)
    int MPI_Info_create_env(int, char * *, MPI_Info *)
    int MPI_Info_delete(MPI_Info, const char *)
    int MPI_Info_dup(MPI_Info, MPI_Info *)
    int MPI_Info_free(MPI_Info *)
    int MPI_Info_get(MPI_Info, const char *, int, char *, int *)
    int MPI_Info_get_nkeys(MPI_Info, int *)
    int MPI_Info_get_nthkey(MPI_Info, int, char *)
    int MPI_Info_get_string(MPI_Info, const char *, int *, char *, int *)
    int MPI_Info_get_valuelen(MPI_Info, const char *, int *, int *)
    int MPI_Info_set(MPI_Info, const char *, const char *)
    int MPI_File_call_errhandler(MPI_File, int)
    int MPI_File_close(MPI_File *)
    int MPI_File_create_errhandler(MPI_File_errhandler_function *, MPI_Errhandler *)
    int MPI_File_delete(const char *, MPI_Info)
    int MPI_File_get_amode(MPI_File, int *)
    int MPI_File_get_atomicity(MPI_File, int *)
    int MPI_File_get_byte_offset(MPI_File, MPI_Offset, MPI_Offset *)
    int MPI_File_get_errhandler(MPI_File, MPI_Errhandler *)
    int MPI_File_get_group(MPI_File, MPI_Group *)
    int MPI_File_get_info(MPI_File, MPI_Info *)
    int MPI_File_get_position(MPI_File, MPI_Offset *)
    int MPI_File_get_position_shared(MPI_File, MPI_Offset *)
    int MPI_File_get_size(MPI_File, MPI_Offset *)
    int MPI_File_get_type_extent(MPI_File, MPI_Datatype, MPI_Aint *)
    int MPI_File_get_type_extent_c(MPI_File, MPI_Datatype, MPI_Count *)
    int MPI_File_get_view(MPI_File, MPI_Offset *, MPI_Datatype *, MPI_Datatype *, char *)
    int MPI_File_iread(MPI_File, void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_all(MPI_File, void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_all_c(MPI_File, void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_at(MPI_File, MPI_Offset, void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_at_all(MPI_File, MPI_Offset, void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_at_all_c(MPI_File, MPI_Offset, void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_at_c(MPI_File, MPI_Offset, void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_c(MPI_File, void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_shared(MPI_File, void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iread_shared_c(MPI_File, void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite(MPI_File, const void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_all(MPI_File, const void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_all_c(MPI_File, const void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_at(MPI_File, MPI_Offset, const void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_at_all(MPI_File, MPI_Offset, const void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_at_all_c(MPI_File, MPI_Offset, const void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_at_c(MPI_File, MPI_Offset, const void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_c(MPI_File, const void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_shared(MPI_File, const void *, int, MPI_Datatype, MPI_Request *)
    int MPI_File_iwrite_shared_c(MPI_File, const void *, MPI_Count, MPI_Datatype, MPI_Request *)
    int MPI_File_open(MPI_Comm, const char *, int, MPI_Info, MPI_File *)
    int MPI_File_preallocate(MPI_File, MPI_Offset)
    int MPI_File_read(MPI_File, void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_read_all(MPI_File, void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_read_all_begin(MPI_File, void *, int, MPI_Datatype)
    int MPI_File_read_all_begin_c(MPI_File, void *, MPI_Count, MPI_Datatype)
    int MPI_File_read_all_c(MPI_File, void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_read_all_end(MPI_File, void *, MPI_Status *)
    int MPI_File_read_at(MPI_File, MPI_Offset, void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_read_at_all(MPI_File, MPI_Offset, void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_read_at_all_begin(MPI_File, MPI_Offset, void *, int, MPI_Datatype)
    int MPI_File_read_at_all_begin_c(MPI_File, MPI_Offset, void *, MPI_Count, MPI_Datatype)
    int MPI_File_read_at_all_c(MPI_File, MPI_Offset, void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_read_at_all_end(MPI_File, void *, MPI_Status *)
    int MPI_File_read_at_c(MPI_File, MPI_Offset, void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_read_c(MPI_File, void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_read_ordered(MPI_File, void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_read_ordered_begin(MPI_File, void *, int, MPI_Datatype)
    int MPI_File_read_ordered_begin_c(MPI_File, void *, MPI_Count, MPI_Datatype)
    int MPI_File_read_ordered_c(MPI_File, void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_read_ordered_end(MPI_File, void *, MPI_Status *)
    int MPI_File_read_shared(MPI_File, void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_read_shared_c(MPI_File, void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_seek(MPI_File, MPI_Offset, int)
    int MPI_File_seek_shared(MPI_File, MPI_Offset, int)
    int MPI_File_set_atomicity(MPI_File, int)
    int MPI_File_set_errhandler(MPI_File, MPI_Errhandler)
    int MPI_File_set_info(MPI_File, MPI_Info)
    int MPI_File_set_size(MPI_File, MPI_Offset)
    int MPI_File_set_view(MPI_File, MPI_Offset, MPI_Datatype, MPI_Datatype, const char *, MPI_Info)
    int MPI_File_sync(MPI_File)
    int MPI_File_write(MPI_File, const void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_write_all(MPI_File, const void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_write_all_begin(MPI_File, const void *, int, MPI_Datatype)
    int MPI_File_write_all_begin_c(MPI_File, const void *, MPI_Count, MPI_Datatype)
    int MPI_File_write_all_c(MPI_File, const void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_write_all_end(MPI_File, const void *, MPI_Status *)
    int MPI_File_write_at(MPI_File, MPI_Offset, const void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_write_at_all(MPI_File, MPI_Offset, const void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_write_at_all_begin(MPI_File, MPI_Offset, const void *, int, MPI_Datatype)
    int MPI_File_write_at_all_begin_c(MPI_File, MPI_Offset, const void *, MPI_Count, MPI_Datatype)
    int MPI_File_write_at_all_c(MPI_File, MPI_Offset, const void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_write_at_all_end(MPI_File, const void *, MPI_Status *)
    int MPI_File_write_at_c(MPI_File, MPI_Offset, const void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_write_c(MPI_File, const void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_write_ordered(MPI_File, const void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_write_ordered_begin(MPI_File, const void *, int, MPI_Datatype)
    int MPI_File_write_ordered_begin_c(MPI_File, const void *, MPI_Count, MPI_Datatype)
    int MPI_File_write_ordered_c(MPI_File, const void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_File_write_ordered_end(MPI_File, const void *, MPI_Status *)
    int MPI_File_write_shared(MPI_File, const void *, int, MPI_Datatype, MPI_Status *)
    int MPI_File_write_shared_c(MPI_File, const void *, MPI_Count, MPI_Datatype, MPI_Status *)
    int MPI_Register_datarep(const char *, MPI_Datarep_conversion_function *, MPI_Datarep_conversion_function *, MPI_Datarep_extent_function *, void *)
    int MPI_Register_datarep_c(const char *, MPI_Datarep_conversion_function_c *, MPI_Datarep_conversion_function_c *, MPI_Datarep_extent_function *, void *)
    int MPI_Op_commutative(MPI_Op, int *)
    int MPI_Op_create(MPI_User_function *, int, MPI_Op *)
    int MPI_Op_create_c(MPI_User_function_c *, int, MPI_Op *)
    int MPI_Op_free(MPI_Op *)
    int MPI_Reduce_local(const void *, void *, int, MPI_Datatype, MPI_Op)
    int MPI_Reduce_local_c(const void *, void *, MPI_Count, MPI_Datatype, MPI_Op)
    int MPI_Parrived(MPI_Request, int, int *)
    int MPI_Pready(int, MPI_Request)
    int MPI_Pready_list(int, const int *, MPI_Request)
    int MPI_Pready_range(int, int, MPI_Request)
    int MPI_Precv_init(void *, int, int, MPI_Datatype, int, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Precv_init_c(void *, int, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Psend_init(const void *, int, int, MPI_Datatype, int, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Psend_init_c(const void *, int, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Info, MPI_Request *)
    int MPI_Bsend(const void *, int, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Bsend_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Bsend_init(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Bsend_init_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Buffer_attach(void *, int)
    int MPI_Buffer_attach_c(void *, MPI_Count)
    int MPI_Buffer_detach(void *, int *)
    int MPI_Buffer_detach_c(void *, MPI_Count *)
    int MPI_Buffer_flush()
    int MPI_Buffer_iflush(MPI_Request *)
    int MPI_Comm_attach_buffer(MPI_Comm, void *, int)
    int MPI_Comm_attach_buffer_c(MPI_Comm, void *, MPI_Count)
    int MPI_Comm_detach_buffer(MPI_Comm, void *, int *)
    int MPI_Comm_detach_buffer_c(MPI_Comm, void *, MPI_Count *)
    int MPI_Comm_flush_buffer(MPI_Comm)
    int MPI_Comm_iflush_buffer(MPI_Comm, MPI_Request *)
    int MPI_Get_count(const MPI_Status *, MPI_Datatype, int *)
    int MPI_Get_count_c(const MPI_Status *, MPI_Datatype, MPI_Count *)
    int MPI_Ibsend(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Ibsend_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Improbe(int, int, MPI_Comm, int *, MPI_Message *, MPI_Status *)
    int MPI_Imrecv(void *, int, MPI_Datatype, MPI_Message *, MPI_Request *)
    int MPI_Imrecv_c(void *, MPI_Count, MPI_Datatype, MPI_Message *, MPI_Request *)
    int MPI_Iprobe(int, int, MPI_Comm, int *, MPI_Status *)
    int MPI_Irecv(void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Irecv_c(void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Irsend(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Irsend_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Isend(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Isend_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Isendrecv(const void *, int, MPI_Datatype, int, int, void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Isendrecv_c(const void *, MPI_Count, MPI_Datatype, int, int, void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Isendrecv_replace(void *, int, MPI_Datatype, int, int, int, int, MPI_Comm, MPI_Request *)
    int MPI_Isendrecv_replace_c(void *, MPI_Count, MPI_Datatype, int, int, int, int, MPI_Comm, MPI_Request *)
    int MPI_Issend(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Issend_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Mprobe(int, int, MPI_Comm, MPI_Message *, MPI_Status *)
    int MPI_Mrecv(void *, int, MPI_Datatype, MPI_Message *, MPI_Status *)
    int MPI_Mrecv_c(void *, MPI_Count, MPI_Datatype, MPI_Message *, MPI_Status *)
    int MPI_Probe(int, int, MPI_Comm, MPI_Status *)
    int MPI_Recv(void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Status *)
    int MPI_Recv_c(void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Status *)
    int MPI_Recv_init(void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Recv_init_c(void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Rsend(const void *, int, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Rsend_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Rsend_init(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Rsend_init_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Send(const void *, int, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Send_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Send_init(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Send_init_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Sendrecv(const void *, int, MPI_Datatype, int, int, void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Status *)
    int MPI_Sendrecv_c(const void *, MPI_Count, MPI_Datatype, int, int, void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Status *)
    int MPI_Sendrecv_replace(void *, int, MPI_Datatype, int, int, int, int, MPI_Comm, MPI_Status *)
    int MPI_Sendrecv_replace_c(void *, MPI_Count, MPI_Datatype, int, int, int, int, MPI_Comm, MPI_Status *)
    int MPI_Ssend(const void *, int, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Ssend_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm)
    int MPI_Ssend_init(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Ssend_init_c(const void *, MPI_Count, MPI_Datatype, int, int, MPI_Comm, MPI_Request *)
    int MPI_Cancel(MPI_Request *)
    int MPI_Grequest_complete(MPI_Request)
    int MPI_Grequest_start(MPI_Grequest_query_function *, MPI_Grequest_free_function *, MPI_Grequest_cancel_function *, void *, MPI_Request *)
    int MPI_Request_free(MPI_Request *)
    int MPI_Request_get_status(MPI_Request, int *, MPI_Status *)
    int MPI_Request_get_status_all(int, const MPI_Request *, int *, MPI_Status *)
    int MPI_Request_get_status_any(int, const MPI_Request *, int *, int *, MPI_Status *)
    int MPI_Request_get_status_some(int, const MPI_Request *, int *, int *, MPI_Status *)
    int MPI_Start(MPI_Request *)
    int MPI_Startall(int, MPI_Request *)
    int MPI_Status_get_error(const MPI_Status *, int *)
    int MPI_Status_get_source(const MPI_Status *, int *)
    int MPI_Status_get_tag(const MPI_Status *, int *)
    int MPI_Status_set_cancelled(MPI_Status *, int)
    int MPI_Status_set_error(MPI_Status *, int)
    int MPI_Status_set_source(MPI_Status *, int)
    int MPI_Status_set_tag(MPI_Status *, int)
    int MPI_Test(MPI_Request *, int *, MPI_Status *)
    int MPI_Test_cancelled(const MPI_Status *, int *)
    int MPI_Testall(int, MPI_Request *, int *, MPI_Status *)
    int MPI_Testany(int, MPI_Request *, int *, int *, MPI_Status *)
    int MPI_Testsome(int, MPI_Request *, int *, int *, MPI_Status *)
    int MPI_Wait(MPI_Request *, MPI_Status *)
    int MPI_Waitall(int, MPI_Request *, MPI_Status *)
    int MPI_Waitany(int, MPI_Request *, int *, MPI_Status *)
    int MPI_Waitsome(int, MPI_Request *, int *, int *, MPI_Status *)
    int MPI_Accumulate(const void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Op, MPI_Win)
    int MPI_Accumulate_c(const void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Op, MPI_Win)
    int MPI_Compare_and_swap(const void *, const void *, void *, MPI_Datatype, int, MPI_Aint, MPI_Win)
    int MPI_Fetch_and_op(const void *, void *, MPI_Datatype, int, MPI_Aint, MPI_Op, MPI_Win)
    int MPI_Get(void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Win)
    int MPI_Get_accumulate(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Op, MPI_Win)
    int MPI_Get_accumulate_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Op, MPI_Win)
    int MPI_Get_c(void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Win)
    int MPI_Put(const void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Win)
    int MPI_Put_c(const void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Win)
    int MPI_Raccumulate(const void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Op, MPI_Win, MPI_Request *)
    int MPI_Raccumulate_c(const void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Op, MPI_Win, MPI_Request *)
    int MPI_Rget(void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Win, MPI_Request *)
    int MPI_Rget_accumulate(const void *, int, MPI_Datatype, void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Op, MPI_Win, MPI_Request *)
    int MPI_Rget_accumulate_c(const void *, MPI_Count, MPI_Datatype, void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Op, MPI_Win, MPI_Request *)
    int MPI_Rget_c(void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Win, MPI_Request *)
    int MPI_Rput(const void *, int, MPI_Datatype, int, MPI_Aint, int, MPI_Datatype, MPI_Win, MPI_Request *)
    int MPI_Rput_c(const void *, MPI_Count, MPI_Datatype, int, MPI_Aint, MPI_Count, MPI_Datatype, MPI_Win, MPI_Request *)
    int MPI_Win_allocate(MPI_Aint, int, MPI_Info, MPI_Comm, void *, MPI_Win *)
    int MPI_Win_allocate_c(MPI_Aint, MPI_Aint, MPI_Info, MPI_Comm, void *, MPI_Win *)
    int MPI_Win_allocate_shared(MPI_Aint, int, MPI_Info, MPI_Comm, void *, MPI_Win *)
    int MPI_Win_allocate_shared_c(MPI_Aint, MPI_Aint, MPI_Info, MPI_Comm, void *, MPI_Win *)
    int MPI_Win_attach(MPI_Win, void *, MPI_Aint)
    int MPI_Win_complete(MPI_Win)
    int MPI_Win_create(void *, MPI_Aint, int, MPI_Info, MPI_Comm, MPI_Win *)
    int MPI_Win_create_c(void *, MPI_Aint, MPI_Aint, MPI_Info, MPI_Comm, MPI_Win *)
    int MPI_Win_create_dynamic(MPI_Info, MPI_Comm, MPI_Win *)
    int MPI_Win_detach(MPI_Win, const void *)
    int MPI_Win_fence(int, MPI_Win)
    int MPI_Win_flush(int, MPI_Win)
    int MPI_Win_flush_all(MPI_Win)
    int MPI_Win_flush_local(int, MPI_Win)
    int MPI_Win_flush_local_all(MPI_Win)
    int MPI_Win_free(MPI_Win *)
    int MPI_Win_get_group(MPI_Win, MPI_Group *)
    int MPI_Win_get_info(MPI_Win, MPI_Info *)
    int MPI_Win_lock(int, int, int, MPI_Win)
    int MPI_Win_lock_all(int, MPI_Win)
    int MPI_Win_post(MPI_Group, int, MPI_Win)
    int MPI_Win_set_info(MPI_Win, MPI_Info)
    int MPI_Win_shared_query(MPI_Win, int, MPI_Aint *, int *, void *)
    int MPI_Win_shared_query_c(MPI_Win, int, MPI_Aint *, MPI_Aint *, void *)
    int MPI_Win_start(MPI_Group, int, MPI_Win)
    int MPI_Win_sync(MPI_Win)
    int MPI_Win_test(MPI_Win, int *)
    int MPI_Win_unlock(int, MPI_Win)
    int MPI_Win_unlock_all(MPI_Win)
    int MPI_Win_wait(MPI_Win)
    int MPI_Session_attach_buffer(MPI_Session, void *, int)
    int MPI_Session_attach_buffer_c(MPI_Session, void *, MPI_Count)
    int MPI_Session_detach_buffer(MPI_Session, void *, int *)
    int MPI_Session_detach_buffer_c(MPI_Session, void *, MPI_Count *)
    int MPI_Session_finalize(MPI_Session *)
    int MPI_Session_flush_buffer(MPI_Session)
    int MPI_Session_get_info(MPI_Session, MPI_Info *)
    int MPI_Session_get_nth_pset(MPI_Session, MPI_Info, int, int *, char *)
    int MPI_Session_get_num_psets(MPI_Session, MPI_Info, int *)
    int MPI_Session_get_pset_info(MPI_Session, const char *, MPI_Info *)
    int MPI_Session_iflush_buffer(MPI_Session, MPI_Request *)
    int MPI_Session_init(MPI_Info, MPI_Errhandler, MPI_Session *)
    int MPI_Cart_coords(MPI_Comm, int, int, int *)
    int MPI_Cart_create(MPI_Comm, int, const int *, const int *, int, MPI_Comm *)
    int MPI_Cart_get(MPI_Comm, int, int *, int *, int *)
    int MPI_Cart_map(MPI_Comm, int, const int *, const int *, int *)
    int MPI_Cart_rank(MPI_Comm, const int *, int *)
    int MPI_Cart_shift(MPI_Comm, int, int, int *, int *)
    int MPI_Cart_sub(MPI_Comm, const int *, MPI_Comm *)
    int MPI_Cartdim_get(MPI_Comm, int *)
    int MPI_Dims_create(int, int, int *)
    int MPI_Dist_graph_create(MPI_Comm, int, const int *, const int *, const int *, const int *, MPI_Info, int, MPI_Comm *)
    int MPI_Dist_graph_create_adjacent(MPI_Comm, int, const int *, const int *, int, const int *, const int *, MPI_Info, int, MPI_Comm *)
    int MPI_Dist_graph_neighbors(MPI_Comm, int, int *, int *, int, int *, int *)
    int MPI_Dist_graph_neighbors_count(MPI_Comm, int *, int *, int *)
    int MPI_Graph_create(MPI_Comm, int, const int *, const int *, int, MPI_Comm *)
    int MPI_Graph_get(MPI_Comm, int, int, int *, int *)
    int MPI_Graph_map(MPI_Comm, int, const int *, const int *, int *)
    int MPI_Graph_neighbors(MPI_Comm, int, int, int *)
    int MPI_Graph_neighbors_count(MPI_Comm, int, int *)
    int MPI_Graphdims_get(MPI_Comm, int *, int *)
    int MPI_Topo_test(MPI_Comm, int *)
