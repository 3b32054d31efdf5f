/* Fault tolerance without a failure: agreements, shrinking, what a revoked communicator still does.
 * ranks: 1 2 3 8 */
#include "check.h"
#include <phalanx.h>

static void agreements(MPI_Comm comm)
{
    int flag = ~(1 << rank), all = ~((1 << size) - 1), acked, several[6];
    MPI_Group failed;
    MPI_Request requests[6];
    OK(PHALANX_Comm_agree(comm, &flag));
    CHECK(flag == all);
    /* More at a time than the members may be apart. */
    for (int i = 0; i < 6; i++) {
        several[i] = rank == size - 1 ? i : -1;
        OK(PHALANX_Comm_iagree(comm, &several[i], &requests[i]));
    }
    OK(MPI_Waitall(6, requests, MPI_STATUSES_IGNORE));
    for (int i = 0; i < 6; i++)
        CHECK(several[i] == i && requests[i] == MPI_REQUEST_NULL);
    OK(PHALANX_Comm_get_failed(comm, &failed));
    CHECK(failed == MPI_GROUP_EMPTY);
    OK(PHALANX_Comm_ack_failed(comm, size, &acked));
    CHECK(acked == 0);
    FAILS(MPI_ERR_ARG, PHALANX_Comm_ack_failed(comm, -1, &acked));
    FAILS(MPI_ERR_ARG, PHALANX_Comm_agree(comm, NULL));
    FAILS(MPI_ERR_COMM, PHALANX_Comm_agree(MPI_COMM_NULL, &flag));
}

static void same_members(MPI_Comm comm, MPI_Comm new)
{
    int result, sum = 0, one = 1;
    OK(MPI_Comm_compare(comm, new, &result));
    CHECK(result == MPI_CONGRUENT);
    OK(MPI_Allreduce(&one, &sum, 1, MPI_INT, MPI_SUM, new));
    CHECK(sum == size);
}

static void shrinking(MPI_Comm comm)
{
    MPI_Comm new;
    MPI_Request request;
    OK(PHALANX_Comm_shrink(comm, &new));
    same_members(comm, new);
    OK(MPI_Comm_free(&new));
    OK(PHALANX_Comm_ishrink(comm, &new, &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    same_members(comm, new);
    OK(MPI_Comm_free(&new));
}

static void revoked(void)
{
    MPI_Comm comm, new;
    MPI_Request request;
    int flag, data = 0, length;
    char text[MPI_MAX_ERROR_STRING];
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    OK(PHALANX_Comm_is_revoked(comm, &flag));
    CHECK(size > 1 || !flag);
    OK(MPI_Irecv(&data, 1, MPI_INT, MPI_ANY_SOURCE, 0, comm, &request));
    OK(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == size - 1)
        OK(PHALANX_Comm_revoke(comm));
    FAILS(PHALANX_ERR_REVOKED, MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(request == MPI_REQUEST_NULL);
    OK(PHALANX_Comm_is_revoked(comm, &flag));
    CHECK(flag);
    FAILS(PHALANX_ERR_REVOKED, MPI_Barrier(comm));
    FAILS(PHALANX_ERR_REVOKED, MPI_Send(&data, 1, MPI_INT, MPI_PROC_NULL, 0, comm));
    FAILS(PHALANX_ERR_REVOKED, MPI_Comm_dup(comm, &new));
    FAILS(PHALANX_ERR_REVOKED, MPI_Iprobe(MPI_ANY_SOURCE, 0, comm, &flag, MPI_STATUS_IGNORE));
    OK(MPI_Error_string(PHALANX_ERR_REVOKED, text, &length));
    CHECK(strstr(text, "PHALANX_ERR_REVOKED"));
    agreements(comm);
    shrinking(comm);
    OK(MPI_Comm_free(&comm));
}

int main(void)
{
    begin();
    agreements(MPI_COMM_WORLD);
    agreements(MPI_COMM_WORLD);
    shrinking(MPI_COMM_WORLD);
    for (int i = 0; i < 20; i++)
        revoked();
    return finish();
}
