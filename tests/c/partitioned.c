/* Partitioned communication: rounds, divisions of both sides, large counts, threads, wrong use.
 * ranks: 1 2 3 8 */
#include "check.h"
#include <pthread.h>
#include <stdint.h>

enum { PARTS = 6, EACH = 4, TOTAL = PARTS * EACH };

/* Both ends of a ring; the receiver has `parts` partitions. */
static void make(int wide, int *out, int *in, int parts, MPI_Request *send, MPI_Request *receive)
{
    int left = (rank + size - 1) % size, right = (rank + 1) % size;
    if (wide) {
        OK(MPI_Psend_init_c(out, PARTS, EACH, MPI_INT, right, 4, MPI_COMM_WORLD, MPI_INFO_NULL, send));
        OK(MPI_Precv_init_c(in, parts, TOTAL / parts, MPI_INT, left, 4, MPI_COMM_WORLD, MPI_INFO_NULL, receive));
    } else {
        OK(MPI_Psend_init(out, PARTS, EACH, MPI_INT, right, 4, MPI_COMM_WORLD, MPI_INFO_NULL, send));
        OK(MPI_Precv_init(in, parts, TOTAL / parts, MPI_INT, left, 4, MPI_COMM_WORLD, MPI_INFO_NULL, receive));
    }
}

static void rounds(int wide, int parts)
{
    int out[TOTAL], in[TOTAL], flag, count, left = (rank + size - 1) % size, list[] = {5, 0};
    MPI_Request requests[2];
    MPI_Status statuses[2];
    make(wide, out, in, parts, &requests[0], &requests[1]);
    for (int round = 0; round < 3; round++) {
        OK(MPI_Startall(2, requests));
        for (int i = 0; i < TOTAL; i++)
            out[i] = 1000 * rank + 100 * round + i;
        OK(MPI_Pready(3, requests[0]));
        OK(MPI_Pready_range(1, 2, requests[0]));
        OK(MPI_Parrived(requests[1], 0, &flag));
        CHECK(!flag); /* partition 0 of the sender is not ready */
        OK(MPI_Barrier(MPI_COMM_WORLD)); /* nobody is in the next round before all have looked */
        OK(MPI_Pready_list(2, list, requests[0]));
        OK(MPI_Pready_list(0, NULL, requests[0]));
        if (parts == 1)
            OK(MPI_Pready(4, requests[0]));
        do
            OK(MPI_Parrived(requests[1], 0, &flag));
        while (!flag);
        CHECK(in[0] == 1000 * left + 100 * round);
        if (parts > 1)
            OK(MPI_Pready(4, requests[0]));
        OK(MPI_Waitall(2, requests, statuses));
        OK(MPI_Get_count(&statuses[1], MPI_INT, &count));
        CHECK(count == TOTAL && statuses[1].MPI_SOURCE == left && statuses[1].MPI_TAG == 4);
        for (int i = 0; i < TOTAL; i++)
            CHECK(in[i] == 1000 * left + 100 * round + i);
        OK(MPI_Parrived(requests[1], parts - 1, &flag)); /* inactive */
        CHECK(flag && requests[0] != MPI_REQUEST_NULL);
    }
    OK(MPI_Request_free(&requests[0]));
    OK(MPI_Request_free(&requests[1]));
    CHECK(requests[0] == MPI_REQUEST_NULL && requests[1] == MPI_REQUEST_NULL);
}

static MPI_Request shared;

static void *mark(void *first)
{
    for (int i = (int)(intptr_t)first; i < PARTS; i += 3)
        MPI_Pready(i, shared);
    return NULL;
}

static void threads(void)
{
    int out[TOTAL], in[TOTAL], left = (rank + size - 1) % size;
    MPI_Request receive;
    for (int i = 0; i < TOTAL; i++)
        out[i] = rank + i;
    make(0, out, in, 1, &shared, &receive);
    for (int round = 0; round < 20; round++) {
        pthread_t workers[3];
        MPI_Request copy = shared;
        OK(MPI_Start(&receive));
        OK(MPI_Start(&copy));
        for (intptr_t i = 0; i < 3; i++)
            pthread_create(&workers[i], NULL, mark, (void *)i);
        OK(MPI_Wait(&copy, MPI_STATUS_IGNORE));
        for (int i = 0; i < 3; i++)
            pthread_join(workers[i], NULL);
        OK(MPI_Wait(&receive, MPI_STATUS_IGNORE));
        CHECK(in[0] == left && in[TOTAL - 1] == left + TOTAL - 1);
    }
    OK(MPI_Request_free(&shared));
    OK(MPI_Request_free(&receive));
}

static void wrong(void)
{
    int out[TOTAL] = {0}, in[TOTAL], flag, list[] = {0, PARTS};
    MPI_Request send, receive, other, null = MPI_REQUEST_NULL;
    MPI_Comm self = MPI_COMM_SELF;
    MPI_Info none = MPI_INFO_NULL;
    OK(MPI_Psend_init(out, PARTS, EACH, MPI_INT, 0, 0, self, none, &send));
    OK(MPI_Precv_init(in, PARTS, EACH, MPI_INT, 0, 0, self, none, &receive));
    OK(MPI_Parrived(receive, 0, &flag));
    CHECK(flag);
    FAILS(MPI_ERR_REQUEST, MPI_Pready(0, send)); /* not started */
    OK(MPI_Start(&send));
    OK(MPI_Start(&receive));
    FAILS(MPI_ERR_REQUEST, MPI_Start(&send));
    FAILS(MPI_ERR_ARG, MPI_Pready(PARTS, send));
    FAILS(MPI_ERR_ARG, MPI_Pready(-1, send));
    FAILS(MPI_ERR_ARG, MPI_Pready_range(2, 1, send));
    FAILS(MPI_ERR_ARG, MPI_Pready_range(0, PARTS, send));
    FAILS(MPI_ERR_ARG, MPI_Pready_list(2, list, send));
    FAILS(MPI_ERR_ARG, MPI_Pready_list(2, NULL, send));
    FAILS(MPI_ERR_COUNT, MPI_Pready_list(-1, list, send));
    FAILS(MPI_ERR_REQUEST, MPI_Pready(0, receive));
    FAILS(MPI_ERR_REQUEST, MPI_Pready(0, null));
    FAILS(MPI_ERR_REQUEST, MPI_Parrived(send, 0, &flag));
    FAILS(MPI_ERR_ARG, MPI_Parrived(receive, PARTS, &flag));
    FAILS(MPI_ERR_ARG, MPI_Parrived(receive, 0, NULL));
    OK(MPI_Parrived(null, 0, &flag));
    CHECK(flag);
    FAILS(MPI_ERR_REQUEST, MPI_Cancel(&send));
    OK(MPI_Pready(1, send));
    FAILS(MPI_ERR_ARG, MPI_Pready(1, send)); /* twice */
    OK(MPI_Pready(0, send));
    OK(MPI_Pready_range(2, PARTS - 1, send));
    OK(MPI_Wait(&receive, MPI_STATUS_IGNORE));
    OK(MPI_Wait(&send, MPI_STATUS_IGNORE));
    other = send;
    OK(MPI_Request_free(&send));
    OK(MPI_Request_free(&receive));
    FAILS(MPI_ERR_REQUEST, MPI_Pready(0, other)); /* freed */
    OK(MPI_Recv_init(in, 1, MPI_INT, 0, 0, self, &other));
    FAILS(MPI_ERR_REQUEST, MPI_Pready(0, other)); /* not a partitioned one */
    FAILS(MPI_ERR_REQUEST, MPI_Parrived(other, 0, &flag));
    OK(MPI_Request_free(&other));
    FAILS(MPI_ERR_ARG, MPI_Psend_init(out, 0, EACH, MPI_INT, 0, 0, self, none, &send));
    FAILS(MPI_ERR_ARG, MPI_Psend_init(out, 1, EACH, MPI_INT, 0, 0, self, none, NULL));
    FAILS(MPI_ERR_COUNT, MPI_Psend_init(out, 1, -1, MPI_INT, 0, 0, self, none, &send));
    FAILS(MPI_ERR_COUNT, MPI_Psend_init_c(out, 4, INT64_MAX, MPI_INT, 0, 0, self, none, &send));
    FAILS(MPI_ERR_TYPE, MPI_Psend_init(out, 1, 1, MPI_DATATYPE_NULL, 0, 0, self, none, &send));
    FAILS(MPI_ERR_RANK, MPI_Psend_init(out, 1, 1, MPI_INT, 1, 0, self, none, &send));
    FAILS(MPI_ERR_TAG, MPI_Psend_init(out, 1, 1, MPI_INT, 0, -1, self, none, &send));
    FAILS(MPI_ERR_COMM, MPI_Psend_init(out, 1, 1, MPI_INT, 0, 0, MPI_COMM_NULL, none, &send));
    FAILS(MPI_ERR_BUFFER, MPI_Psend_init(NULL, 1, 1, MPI_INT, 0, 0, self, none, &send));
    FAILS(MPI_ERR_RANK, MPI_Precv_init(in, 1, 1, MPI_INT, MPI_ANY_SOURCE, 0, self, none, &receive));
    FAILS(MPI_ERR_TAG, MPI_Precv_init(in, 1, 1, MPI_INT, 0, MPI_ANY_TAG, self, none, &receive));
    FAILS(MPI_ERR_TYPE, MPI_Precv_init_c(in, 1, 1, MPI_DATATYPE_NULL, 0, 0, self, none, &receive));
    FAILS(MPI_ERR_COUNT, MPI_Precv_init_c(in, 1, -1, MPI_INT, 0, 0, self, none, &receive));
}

int main(void)
{
    begin();
    for (int wide = 0; wide < 2; wide++) {
        rounds(wide, PARTS);
        rounds(wide, 1);
        rounds(wide, 8);
    }
    threads();
    wrong();
    return finish();
}
