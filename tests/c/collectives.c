/* Every collective in its blocking, nonblocking and persistent form, in place too, with int and MPI_Count.
 * ranks: 1 2 3 4 8
 * widths: int count */
#include "large.h"

enum { N = 5, MOST = 16 };
static int in[N * MOST], out[N * MOST];

static void fill(int *data, int n, int seed)
{
    for (int i = 0; i < n; i++)
        data[i] = seed * 1000 + i;
}

static int is(const int *data, int n, int seed)
{
    for (int i = 0; i < n; i++)
        if (data[i] != seed * 1000 + i)
            return 0;
    return 1;
}

/* Completes a started operation, or runs a persistent one twice. */
static void complete(MPI_Request *request, int persistent)
{
    if (!persistent) {
        OK(MPI_Wait(request, MPI_STATUS_IGNORE));
        CHECK(*request == MPI_REQUEST_NULL);
        return;
    }
    for (int i = 0; i < 2; i++) {
        OK(MPI_Start(request));
        OK(MPI_Wait(request, MPI_STATUS_IGNORE));
        CHECK(*request != MPI_REQUEST_NULL);
    }
    OK(MPI_Request_free(request));
}

static void rooted(int root, int form)
{
    MPI_Comm comm = MPI_COMM_WORLD;
    MPI_Request request;
    fill(in, N, rank == root ? root : 99);
    if (form == 0)
        OK(MPI_Bcast(in, N, MPI_INT, root, comm));
    else {
        if (form == 1)
            OK(MPI_Ibcast(in, N, MPI_INT, root, comm, &request));
        else
            OK(MPI_Bcast_init(in, N, MPI_INT, root, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    CHECK(is(in, N, root));

    fill(in, N, rank);
    memset(out, 0, sizeof out);
    if (form == 0)
        OK(MPI_Gather(in, N, MPI_INT, out, N, MPI_INT, root, comm));
    else {
        if (form == 1)
            OK(MPI_Igather(in, N, MPI_INT, out, N, MPI_INT, root, comm, &request));
        else
            OK(MPI_Gather_init(in, N, MPI_INT, out, N, MPI_INT, root, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    for (int i = 0; rank == root && i < size; i++)
        CHECK(is(out + N * i, N, i));

    for (int i = 0; i < size; i++)
        fill(out + N * i, N, i);
    memset(in, 0, sizeof in);
    if (form == 0)
        OK(MPI_Scatter(out, N, MPI_INT, in, N, MPI_INT, root, comm));
    else {
        if (form == 1)
            OK(MPI_Iscatter(out, N, MPI_INT, in, N, MPI_INT, root, comm, &request));
        else
            OK(MPI_Scatter_init(out, N, MPI_INT, in, N, MPI_INT, root, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    CHECK(is(in, N, rank));

    fill(in, N, rank);
    memset(out, 0, sizeof out);
    if (form == 0)
        OK(MPI_Reduce(in, out, N, MPI_INT, MPI_MAX, root, comm));
    else {
        if (form == 1)
            OK(MPI_Ireduce(in, out, N, MPI_INT, MPI_MAX, root, comm, &request));
        else
            OK(MPI_Reduce_init(in, out, N, MPI_INT, MPI_MAX, root, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    CHECK(rank != root || is(out, N, size - 1));
}

static void everywhere(int form)
{
    MPI_Comm comm = MPI_COMM_WORLD;
    MPI_Request request;
    if (form == 0)
        OK(MPI_Barrier(comm));
    else {
        if (form == 1)
            OK(MPI_Ibarrier(comm, &request));
        else
            OK(MPI_Barrier_init(comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }

    fill(in, N, rank);
    memset(out, 0, sizeof out);
    if (form == 0)
        OK(MPI_Allgather(in, N, MPI_INT, out, N, MPI_INT, comm));
    else {
        if (form == 1)
            OK(MPI_Iallgather(in, N, MPI_INT, out, N, MPI_INT, comm, &request));
        else
            OK(MPI_Allgather_init(in, N, MPI_INT, out, N, MPI_INT, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    for (int i = 0; i < size; i++)
        CHECK(is(out + N * i, N, i));

    for (int i = 0; i < size; i++)
        fill(in + N * i, N, rank * MOST + i);
    memset(out, 0, sizeof out);
    if (form == 0)
        OK(MPI_Alltoall(in, N, MPI_INT, out, N, MPI_INT, comm));
    else {
        if (form == 1)
            OK(MPI_Ialltoall(in, N, MPI_INT, out, N, MPI_INT, comm, &request));
        else
            OK(MPI_Alltoall_init(in, N, MPI_INT, out, N, MPI_INT, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    for (int i = 0; i < size; i++)
        CHECK(is(out + N * i, N, i * MOST + rank));

    for (int i = 0; i < N; i++)
        in[i] = rank + i;
    if (form == 0)
        OK(MPI_Allreduce(in, out, N, MPI_INT, MPI_SUM, comm));
    else {
        if (form == 1)
            OK(MPI_Iallreduce(in, out, N, MPI_INT, MPI_SUM, comm, &request));
        else
            OK(MPI_Allreduce_init(in, out, N, MPI_INT, MPI_SUM, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    for (int i = 0; i < N; i++)
        CHECK(out[i] == size * (size - 1) / 2 + size * i);

    if (form == 0)
        OK(MPI_Scan(in, out, N, MPI_INT, MPI_SUM, comm));
    else {
        if (form == 1)
            OK(MPI_Iscan(in, out, N, MPI_INT, MPI_SUM, comm, &request));
        else
            OK(MPI_Scan_init(in, out, N, MPI_INT, MPI_SUM, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    CHECK(out[0] == rank * (rank + 1) / 2);

    out[0] = -1;
    if (form == 0)
        OK(MPI_Exscan(in, out, N, MPI_INT, MPI_SUM, comm));
    else {
        if (form == 1)
            OK(MPI_Iexscan(in, out, N, MPI_INT, MPI_SUM, comm, &request));
        else
            OK(MPI_Exscan_init(in, out, N, MPI_INT, MPI_SUM, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    CHECK(out[0] == (rank == 0 ? -1 : rank * (rank - 1) / 2));

    for (int i = 0; i < size; i++)
        in[i] = rank + i;
    if (form == 0)
        OK(MPI_Reduce_scatter_block(in, out, 1, MPI_INT, MPI_SUM, comm));
    else {
        if (form == 1)
            OK(MPI_Ireduce_scatter_block(in, out, 1, MPI_INT, MPI_SUM, comm, &request));
        else
            OK(MPI_Reduce_scatter_block_init(in, out, 1, MPI_INT, MPI_SUM, comm, MPI_INFO_NULL, &request));
        complete(&request, form == 2);
    }
    CHECK(out[0] == size * (size - 1) / 2 + size * rank);
}

/* Blocks of different sizes: rank r has r + 1 elements. */
static void vectors(void)
{
    MPI_Comm comm = MPI_COMM_WORLD;
    count_t counts[MOST], same[MOST];
    displ_t displs[MOST], bytes[MOST];
    int total = 0;
    MPI_Datatype types[MOST];
    for (int i = 0; i < size; i++) {
        counts[i] = i + 1;
        displs[i] = total;
        bytes[i] = total * (int)sizeof(int);
        total += i + 1;
        types[i] = MPI_INT;
        same[i] = rank + 1;
    }
    int mine[MOST], all[MOST * MOST], back[MOST];
    fill(mine, rank + 1, rank);
    memset(all, 0, sizeof all);
    OK(MPI_Allgatherv(mine, rank + 1, MPI_INT, all, counts, displs, MPI_INT, comm));
    for (int i = 0; i < size; i++)
        CHECK(is(all + displs[i], i + 1, i));
    memset(all, 0, sizeof all);
    OK(MPI_Gatherv(mine, rank + 1, MPI_INT, all, counts, displs, MPI_INT, 0, comm));
    for (int i = 0; rank == 0 && i < size; i++)
        CHECK(is(all + displs[i], i + 1, i));
    OK(MPI_Bcast(all, total, MPI_INT, 0, comm));
    memset(back, 0, sizeof back);
    OK(MPI_Scatterv(all, counts, displs, MPI_INT, back, rank + 1, MPI_INT, 0, comm));
    CHECK(is(back, rank + 1, rank));
    /* To rank i go i + 1 elements; from everybody come rank + 1. */
    int give[MOST * MOST], got[MOST * MOST];
    displ_t rdispls[MOST], rbytes[MOST];
    for (int i = 0; i < size; i++) {
        fill(give + displs[i], i + 1, rank * MOST + i);
        rdispls[i] = i * (rank + 1);
        rbytes[i] = rdispls[i] * (int)sizeof(int);
    }
    for (int form = 0; form < 2; form++) {
        memset(got, 0, sizeof got);
        if (form == 0)
            OK(MPI_Alltoallv(give, counts, displs, MPI_INT, got, same, rdispls, MPI_INT, comm));
        else
            OK(MPI_Alltoallw(give, counts, bytes, types, got, same, rbytes, types, comm));
        for (int i = 0; i < size; i++)
            CHECK(is(got + rdispls[i], rank + 1, i * MOST + rank));
    }
    int reduced[MOST], ones[MOST * MOST];
    for (int i = 0; i < total; i++)
        ones[i] = 1;
    OK(MPI_Reduce_scatter(ones, reduced, counts, MPI_INT, MPI_SUM, comm));
    for (int i = 0; i <= rank; i++)
        CHECK(reduced[i] == size);
}

static void in_place(void)
{
    MPI_Comm comm = MPI_COMM_WORLD;
    int value = rank + 1, all[MOST];
    OK(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_SUM, comm));
    CHECK(value == size * (size + 1) / 2);
    all[rank] = rank;
    OK(MPI_Allgather(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, 1, MPI_INT, comm));
    for (int i = 0; i < size; i++)
        CHECK(all[i] == i);
    value = rank;
    OK(MPI_Reduce(rank == 0 ? MPI_IN_PLACE : &value, &value, 1, MPI_INT, MPI_SUM, 0, comm));
    CHECK(rank != 0 || value == size * (size - 1) / 2);
    for (int i = 0; i < size; i++)
        all[i] = rank * MOST + i;
    OK(MPI_Alltoall(MPI_IN_PLACE, 0, MPI_DATATYPE_NULL, all, 1, MPI_INT, comm));
    for (int i = 0; i < size; i++)
        CHECK(all[i] == i * MOST + rank);
    value = 1;
    OK(MPI_Scan(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_SUM, comm));
    CHECK(value == rank + 1);
    for (int i = 0; i < size; i++)
        all[i] = i;
    OK(MPI_Reduce_scatter_block(MPI_IN_PLACE, all, 1, MPI_INT, MPI_SUM, comm));
    CHECK(all[0] == rank * size);
    OK(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MAX, comm));
    CHECK(value == size);
}

int main(void)
{
    begin();
    for (int form = 0; form < 3; form++) {
        for (int root = 0; root < size; root++)
            rooted(root, form);
        everywhere(form);
    }
    vectors();
    in_place();
    return finish();
}
