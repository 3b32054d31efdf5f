/* The wait and test families, inactive and null requests, persistent and generalized ones, cancelling, peeking.
 * ranks: 1 2 */
#include "check.h"
#include <pthread.h>

enum { N = 4 };

static void families(void)
{
    int in[N], out[N], index, flag, count, indices[2 * N];
    MPI_Request requests[2 * N];
    MPI_Status statuses[2 * N];
    for (int kind = 0; kind < 6; kind++) {
        int left = 2 * N;
        for (int i = 0; i < N; i++) {
            in[i] = -1;
            out[i] = 10 * kind + i;
            OK(MPI_Irecv(&in[i], 1, MPI_INT, 0, i, MPI_COMM_SELF, &requests[i]));
            OK(MPI_Isend(&out[i], 1, MPI_INT, 0, i, MPI_COMM_SELF, &requests[N + i]));
        }
        if (kind == 0) {
            OK(MPI_Waitall(2 * N, requests, statuses));
            CHECK(statuses[1].MPI_TAG == 1);
        } else if (kind == 1) {
            do
                OK(MPI_Testall(2 * N, requests, &flag, statuses));
            while (!flag);
        } else
            while (left > 0) {
                if (kind == 2) {
                    OK(MPI_Waitany(2 * N, requests, &index, MPI_STATUS_IGNORE));
                    count = 1;
                } else if (kind == 3) {
                    OK(MPI_Testany(2 * N, requests, &index, &flag, MPI_STATUS_IGNORE));
                    count = flag;
                } else if (kind == 4) {
                    OK(MPI_Waitsome(2 * N, requests, &count, indices, statuses));
                    CHECK(count > 0);
                } else
                    OK(MPI_Testsome(2 * N, requests, &count, indices, MPI_STATUSES_IGNORE));
                left -= count;
            }
        for (int i = 0; i < N; i++)
            CHECK(in[i] == 10 * kind + i && requests[i] == MPI_REQUEST_NULL && requests[N + i] == MPI_REQUEST_NULL);
    }
}

static void nothing(void)
{
    MPI_Request none[2] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    MPI_Status status;
    int flag = 0, index = 0, count = 0, indices[2];
    memset(&status, 1, sizeof status);
    OK(MPI_Wait(none, &status));
    CHECK(status.MPI_SOURCE == MPI_ANY_SOURCE && status.MPI_TAG == MPI_ANY_TAG && status.MPI_ERROR == MPI_SUCCESS);
    OK(MPI_Test(none, &flag, MPI_STATUS_IGNORE));
    CHECK(flag);
    OK(MPI_Waitany(2, none, &index, MPI_STATUS_IGNORE));
    CHECK(index == MPI_UNDEFINED);
    OK(MPI_Testany(2, none, &index, &flag, MPI_STATUS_IGNORE));
    CHECK(index == MPI_UNDEFINED && flag);
    OK(MPI_Waitsome(2, none, &count, indices, MPI_STATUSES_IGNORE));
    CHECK(count == MPI_UNDEFINED);
    OK(MPI_Testsome(2, none, &count, indices, MPI_STATUSES_IGNORE));
    CHECK(count == MPI_UNDEFINED);
    OK(MPI_Waitall(2, none, MPI_STATUSES_IGNORE));
    OK(MPI_Waitall(0, NULL, MPI_STATUSES_IGNORE));
}

static void peeking(void)
{
    int in = 0, out = 3, flag = 1, count;
    MPI_Request requests[2];
    MPI_Status status;
    OK(MPI_Irecv(&in, 1, MPI_INT, 0, 5, MPI_COMM_SELF, &requests[0]));
    requests[1] = MPI_REQUEST_NULL;
    OK(MPI_Request_get_status(requests[0], &flag, &status));
    CHECK(!flag);
    OK(MPI_Request_get_status_all(2, requests, &flag, MPI_STATUSES_IGNORE));
    CHECK(!flag);
    OK(MPI_Send(&out, 1, MPI_INT, 0, 5, MPI_COMM_SELF));
    do
        OK(MPI_Request_get_status(requests[0], &flag, &status));
    while (!flag);
    OK(MPI_Get_count(&status, MPI_INT, &count));
    CHECK(count == 1 && status.MPI_TAG == 5 && requests[0] != MPI_REQUEST_NULL);
    OK(MPI_Request_get_status_any(2, requests, &count, &flag, &status));
    CHECK(flag && count == 0);
    OK(MPI_Wait(&requests[0], MPI_STATUS_IGNORE));
    CHECK(in == 3);
}

static void persistent(void)
{
    int value = 0, flag;
    MPI_Request request;
    MPI_Status status;
    OK(MPI_Recv_init(&value, 1, MPI_INT, 0, 2, MPI_COMM_SELF, &request));
    OK(MPI_Wait(&request, &status)); /* inactive: empty status, at once */
    CHECK(request != MPI_REQUEST_NULL && status.MPI_SOURCE == MPI_ANY_SOURCE);
    OK(MPI_Test(&request, &flag, MPI_STATUS_IGNORE));
    CHECK(flag);
    OK(MPI_Startall(1, &request));
    FAILS(MPI_ERR_REQUEST, MPI_Start(&request));
    OK(MPI_Cancel(&request));
    OK(MPI_Wait(&request, &status));
    OK(MPI_Test_cancelled(&status, &flag));
    CHECK(flag && request != MPI_REQUEST_NULL);
    OK(MPI_Request_free(&request));
    CHECK(request == MPI_REQUEST_NULL);
}

static int queried, freed, cancelled;

static int query(void *extra, MPI_Status *status)
{
    queried++;
    CHECK(extra == &queried);
    MPI_Status_set_source(status, 7);
    MPI_Status_set_tag(status, 8);
    MPI_Status_set_elements(status, MPI_DOUBLE, 3);
    return MPI_Status_set_cancelled(status, 0);
}

static int release(void *extra)
{
    freed++;
    return extra == &queried ? MPI_SUCCESS : MPI_ERR_OTHER;
}

static int cancel(void *extra, int complete)
{
    (void)extra;
    cancelled = complete ? 2 : 1;
    return MPI_SUCCESS;
}

static void *complete_it(void *argument)
{
    MPI_Request request = *(MPI_Request *)argument;
    double until = MPI_Wtime() + 0.05;
    while (MPI_Wtime() < until)
        ;
    MPI_Grequest_complete(request);
    return NULL;
}

static void generalized(void)
{
    MPI_Request request, copy;
    MPI_Status status;
    pthread_t thread;
    int flag = 1, count = 0;
    OK(MPI_Grequest_start(query, release, cancel, &queried, &request));
    OK(MPI_Test(&request, &flag, &status));
    CHECK(!flag);
    OK(MPI_Cancel(&request));
    CHECK(cancelled == 1);
    copy = request;
    /* One thread waits while another completes. */
    CHECK(pthread_create(&thread, NULL, complete_it, &copy) == 0);
    OK(MPI_Wait(&request, &status));
    pthread_join(thread, NULL);
    OK(MPI_Get_count(&status, MPI_DOUBLE, &count));
    CHECK(request == MPI_REQUEST_NULL && status.MPI_SOURCE == 7 && status.MPI_TAG == 8 && count == 3);
    CHECK(queried == 1 && freed == 1);
}

/* The parts of a status, read and written. */
static void statuses(void)
{
    MPI_Status status;
    int part = -1;
    memset(&status, 0, sizeof status);
    OK(MPI_Status_set_source(&status, 3));
    OK(MPI_Status_get_source(&status, &part));
    CHECK(part == 3);
    OK(MPI_Status_set_tag(&status, 44));
    OK(MPI_Status_get_tag(&status, &part));
    CHECK(part == 44);
    OK(MPI_Status_set_error(&status, MPI_ERR_TRUNCATE));
    OK(MPI_Status_get_error(&status, &part));
    CHECK(part == MPI_ERR_TRUNCATE);
}

/* Of several requests, those that are complete, which stay as they are. */
static void some(void)
{
    MPI_Request requests[3] = {MPI_REQUEST_NULL, MPI_REQUEST_NULL, MPI_REQUEST_NULL};
    MPI_Status told_of[3];
    int count = -1, which[3], got[2] = {-1, -1}, value = 5;
    OK(MPI_Request_get_status_some(3, requests, &count, which, told_of));
    CHECK(count == MPI_UNDEFINED);
    OK(MPI_Irecv(&got[0], 1, MPI_INT, 0, 1, MPI_COMM_SELF, &requests[0]));
    OK(MPI_Irecv(&got[1], 1, MPI_INT, 0, 2, MPI_COMM_SELF, &requests[2]));
    OK(MPI_Send(&value, 1, MPI_INT, 0, 2, MPI_COMM_SELF));
    OK(MPI_Request_get_status_some(3, requests, &count, which, told_of));
    CHECK(count == 1 && which[0] == 2 && told_of[0].MPI_TAG == 2 && got[1] == 5);
    CHECK(requests[2] != MPI_REQUEST_NULL);
    OK(MPI_Send(&value, 1, MPI_INT, 0, 1, MPI_COMM_SELF));
    OK(MPI_Waitall(3, requests, MPI_STATUSES_IGNORE));
    CHECK(got[0] == 5);
    FAILS(MPI_ERR_COUNT, MPI_Request_get_status_some(-1, requests, &count, which, told_of));
}

int main(void)
{
    begin();
    families();
    nothing();
    peeking();
    persistent();
    generalized();
    statuses();
    some();
    return finish();
}
