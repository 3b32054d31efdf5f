/* Wrong handles, wrong numbers and null pointers: an error of the right class, never a crash.
 * ranks: 1 2 */
#include "check.h"

static const unsigned long patterns[] = {0, 1, 7, 0x7ff, 0xfff, 0x1000, 0x08000000, 0x0fffffff, 0x12345678, 0x7fffffff,
                                         0xdeadbeefcafeul, ~0ul};
enum { PATTERNS = sizeof patterns / sizeof *patterns };

static void handles(unsigned long bits)
{
    MPI_Comm comm = (MPI_Comm)bits, newcomm;
    MPI_Datatype type = (MPI_Datatype)bits, newtype;
    MPI_Op op = (MPI_Op)bits;
    MPI_Group group = (MPI_Group)bits, newgroup;
    MPI_Info info = (MPI_Info)bits, newinfo;
    MPI_Errhandler handler = (MPI_Errhandler)bits;
    MPI_Request request = (MPI_Request)bits;
    MPI_Message message = (MPI_Message)bits;
    MPI_Session session = (MPI_Session)bits;
    int n = 0, flag = 0, value = 0;
    char text[MPI_MAX_ERROR_STRING];
    MPI_Aint lb, extent;

    FAILS(MPI_ERR_COMM, MPI_Comm_rank(comm, &n));
    FAILS(MPI_ERR_COMM, MPI_Comm_dup(comm, &newcomm));
    FAILS(MPI_ERR_COMM, MPI_Send(&n, 1, MPI_INT, 0, 0, comm));
    FAILS(MPI_ERR_COMM, MPI_Barrier(comm));
    FAILS(MPI_ERR_COMM, MPI_Comm_free(&comm));
    CHECK(comm == (MPI_Comm)bits);
    FAILS(MPI_ERR_COMM, MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    FAILS(MPI_ERR_TYPE, MPI_Type_size(type, &n));
    FAILS(MPI_ERR_TYPE, MPI_Type_get_extent(type, &lb, &extent));
    FAILS(MPI_ERR_TYPE, MPI_Send(&n, 1, type, 0, 0, MPI_COMM_SELF));
    FAILS(MPI_ERR_TYPE, MPI_Type_contiguous(2, type, &newtype));
    FAILS(MPI_ERR_TYPE, MPI_Type_commit(&type));
    FAILS(MPI_ERR_TYPE, MPI_Type_free(&type));
    FAILS(MPI_ERR_TYPE, MPI_Bcast(&n, 1, type, 0, MPI_COMM_SELF));
    FAILS(MPI_ERR_OP, MPI_Op_commutative(op, &flag));
    FAILS(MPI_ERR_OP, MPI_Op_free(&op));
    FAILS(MPI_ERR_OP, MPI_Allreduce(&n, &value, 1, MPI_INT, op, MPI_COMM_SELF));
    FAILS(MPI_ERR_GROUP, MPI_Group_size(group, &n));
    FAILS(MPI_ERR_GROUP, MPI_Group_union(group, MPI_GROUP_EMPTY, &newgroup));
    FAILS(MPI_ERR_GROUP, MPI_Group_free(&group));
    FAILS(MPI_ERR_INFO, MPI_Info_dup(info, &newinfo));
    FAILS(MPI_ERR_INFO, MPI_Info_set(info, "key", "value"));
    FAILS(MPI_ERR_INFO, MPI_Info_free(&info));
    FAILS(MPI_ERR_ERRHANDLER, MPI_Comm_set_errhandler(MPI_COMM_SELF, handler));
    FAILS(MPI_ERR_ERRHANDLER, MPI_Errhandler_free(&handler));
    FAILS(MPI_ERR_REQUEST, MPI_Wait(&request, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_REQUEST, MPI_Test(&request, &flag, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_REQUEST, MPI_Waitall(1, &request, MPI_STATUSES_IGNORE));
    FAILS(MPI_ERR_REQUEST, MPI_Request_free(&request));
    FAILS(MPI_ERR_REQUEST, MPI_Cancel(&request));
    FAILS(MPI_ERR_REQUEST, MPI_Start(&request));
    FAILS(MPI_ERR_REQUEST, MPI_Grequest_complete(request));
    FAILS(MPI_ERR_REQUEST, MPI_Mrecv(&n, 1, MPI_INT, &message, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_SESSION, MPI_Session_finalize(&session));
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_set_attr(MPI_COMM_SELF, (int)bits, NULL));
    MPI_Error_string((int)bits, text, &n);
    MPI_Error_class((int)bits, &n);
}

static void stale(void)
{
    MPI_Comm comm, old;
    MPI_Datatype type, dead;
    MPI_Request request, done;
    int n;
    OK(MPI_Comm_dup(MPI_COMM_SELF, &comm));
    old = comm;
    OK(MPI_Comm_free(&comm));
    CHECK(comm == MPI_COMM_NULL);
    FAILS(MPI_ERR_COMM, MPI_Comm_size(old, &n));
    FAILS(MPI_ERR_COMM, MPI_Comm_free(&old));
    OK(MPI_Type_contiguous(3, MPI_INT, &type));
    dead = type;
    OK(MPI_Type_free(&type));
    CHECK(type == MPI_DATATYPE_NULL);
    FAILS(MPI_ERR_TYPE, MPI_Type_size(dead, &n));
    OK(MPI_Irecv(&n, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_SELF, &request));
    done = request;
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(request == MPI_REQUEST_NULL);
    FAILS(MPI_ERR_REQUEST, MPI_Wait(&done, MPI_STATUS_IGNORE));
}

static void arguments(void)
{
    int n = 0, out[4];
    MPI_Comm newcomm;
    MPI_Datatype type;
    MPI_Group group, newgroup;
    void *memory;
    FAILS(MPI_ERR_COUNT, MPI_Send(&n, -1, MPI_INT, 0, 0, MPI_COMM_WORLD));
    FAILS(MPI_ERR_TAG, MPI_Send(&n, 1, MPI_INT, 0, -5, MPI_COMM_WORLD));
    FAILS(MPI_ERR_RANK, MPI_Send(&n, 1, MPI_INT, size, 0, MPI_COMM_WORLD));
    FAILS(MPI_ERR_RANK, MPI_Recv(&n, 1, MPI_INT, -7, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_BUFFER, MPI_Send(NULL, 1, MPI_INT, 0, 0, MPI_COMM_WORLD));
    FAILS(MPI_ERR_BUFFER, MPI_Recv(NULL, 1, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_BUFFER, MPI_Send(MPI_IN_PLACE, 1, MPI_INT, 0, 0, MPI_COMM_WORLD));
    FAILS(MPI_ERR_ROOT, MPI_Bcast(&n, 1, MPI_INT, size, MPI_COMM_WORLD));
    FAILS(MPI_ERR_ROOT, MPI_Bcast(&n, 1, MPI_INT, -1, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COUNT, MPI_Allreduce(MPI_IN_PLACE, &n, -1, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    FAILS(MPI_ERR_OP, MPI_Allreduce(MPI_IN_PLACE, out, 1, MPI_FLOAT, MPI_BAND, MPI_COMM_WORLD));
    {
        int counts[2] = {1, 1}, displs[2] = {0, 0};
        MPI_Datatype types[2] = {MPI_INT, MPI_INT};
        FAILS(MPI_ERR_BUFFER, MPI_Alltoallw(&n, counts, displs, types, MPI_IN_PLACE, counts, displs, types, MPI_COMM_WORLD));
        FAILS(MPI_ERR_BUFFER, MPI_Alltoallw(&n, counts, displs, types, NULL, counts, displs, types, MPI_COMM_WORLD));
    }
    FAILS(MPI_ERR_ARG, MPI_Comm_rank(MPI_COMM_WORLD, NULL));
    FAILS(MPI_ERR_ARG, MPI_Comm_dup(MPI_COMM_WORLD, NULL));
    FAILS(MPI_ERR_ARG, MPI_Comm_set_name(MPI_COMM_WORLD, NULL));
    FAILS(MPI_ERR_ARG, MPI_Get_processor_name(NULL, &n));
    FAILS(MPI_ERR_ARG, MPI_Waitall(2, NULL, MPI_STATUSES_IGNORE));
    FAILS(MPI_ERR_COUNT, MPI_Waitall(-2, NULL, MPI_STATUSES_IGNORE));
    FAILS(MPI_ERR_ARG, MPI_Alloc_mem(-1, MPI_INFO_NULL, &memory));
    FAILS(MPI_ERR_BASE, MPI_Free_mem(&n));
    FAILS(MPI_ERR_COMM, MPI_Comm_remote_size(MPI_COMM_WORLD, &n));
    FAILS(MPI_ERR_ARG, MPI_Comm_split(MPI_COMM_SELF, -3, 0, &newcomm));
    FAILS(MPI_ERR_COUNT, MPI_Type_contiguous(-1, MPI_INT, &type));
    FAILS(MPI_ERR_ARG, MPI_Type_create_struct(2, NULL, NULL, NULL, &type));
    FAILS(MPI_ERR_TYPE, MPI_Type_free(&(MPI_Datatype){MPI_INT}));
    FAILS(MPI_ERR_OP, MPI_Op_free(&(MPI_Op){MPI_SUM}));
    FAILS(MPI_ERR_OTHER, MPI_Init(NULL, NULL));
    OK(MPI_Comm_group(MPI_COMM_WORLD, &group));
    FAILS(MPI_ERR_RANK, MPI_Group_incl(group, 1, &size, &newgroup));
    FAILS(MPI_ERR_ARG, MPI_Group_incl(group, 1, NULL, &newgroup));
    OK(MPI_Group_free(&group));
    OK(MPI_Type_contiguous(1, MPI_INT, &type));
    FAILS(MPI_ERR_TYPE, MPI_Send(&n, 1, type, 0, 0, MPI_COMM_SELF));
    OK(MPI_Type_free(&type));
}

int main(void)
{
    begin();
    for (int i = 0; i < PATTERNS; i++)
        handles(patterns[i]);
    stale();
    arguments();
    return finish();
}
