/* Sends, receives, probes, matched probes, their statuses and errors.
 * ranks: 1 2 3 */
#include "check.h"

static int right, left;

static void modes(void)
{
    int out = rank, in = -1;
    MPI_Status status;
    MPI_Request request;
    typedef int send_function(const void *, int, MPI_Datatype, int, int, MPI_Comm);
    typedef int isend_function(const void *, int, MPI_Datatype, int, int, MPI_Comm, MPI_Request *);
    send_function *sends[] = {MPI_Send, MPI_Ssend, MPI_Bsend, MPI_Rsend};
    isend_function *isends[] = {MPI_Isend, MPI_Issend, MPI_Ibsend, MPI_Irsend};
    isend_function *inits[] = {MPI_Send_init, MPI_Ssend_init, MPI_Bsend_init, MPI_Rsend_init};
    static char space[1 << 16];
    void *back;
    int bytes;
    OK(MPI_Buffer_attach(space, sizeof space));
    FAILS(MPI_ERR_BUFFER, MPI_Buffer_attach(space, sizeof space));
    for (int i = 0; i < 4; i++) {
        OK(MPI_Irecv(&in, 1, MPI_INT, left, i, MPI_COMM_WORLD, &request));
        OK(MPI_Barrier(MPI_COMM_WORLD));
        OK(sends[i](&out, 1, MPI_INT, right, i, MPI_COMM_WORLD));
        status.MPI_ERROR = 77;
        OK(MPI_Wait(&request, &status));
        CHECK(in == left && status.MPI_SOURCE == left && status.MPI_TAG == i);
        CHECK(status.MPI_ERROR == 77);
    }
    for (int i = 0; i < 4; i++) {
        MPI_Request two[2];
        in = -1;
        OK(MPI_Irecv(&in, 1, MPI_INT, left, i, MPI_COMM_WORLD, &two[0]));
        OK(MPI_Barrier(MPI_COMM_WORLD));
        OK(isends[i](&out, 1, MPI_INT, right, i, MPI_COMM_WORLD, &two[1]));
        OK(MPI_Waitall(2, two, MPI_STATUSES_IGNORE));
        CHECK(in == left);
    }
    for (int i = 0; i < 4; i++) {
        MPI_Request two[2];
        OK(MPI_Recv_init(&in, 1, MPI_INT, left, i, MPI_COMM_WORLD, &two[0]));
        OK(inits[i](&out, 1, MPI_INT, right, i, MPI_COMM_WORLD, &two[1]));
        for (int round = 0; round < 3; round++) {
            in = -1;
            OK(MPI_Start(&two[0]));
            OK(MPI_Barrier(MPI_COMM_WORLD));
            OK(MPI_Start(&two[1]));
            OK(MPI_Waitall(2, two, MPI_STATUSES_IGNORE));
            CHECK(in == left && two[0] != MPI_REQUEST_NULL);
        }
        OK(MPI_Request_free(&two[0]));
        OK(MPI_Request_free(&two[1]));
        CHECK(two[0] == MPI_REQUEST_NULL);
    }
    OK(MPI_Buffer_detach(&back, &bytes));
    CHECK(back == space && bytes == sizeof space);
}

static void exchange(void)
{
    enum { MOST = 1 << 20 };
    char *out = malloc(MOST), *in = malloc(MOST);
    MPI_Status status;
    for (int n = 0; n <= MOST; n = n ? n * 16 : 1) {
        int count = -1;
        memset(out, rank + 1, MOST);
        memset(in, 0, MOST);
        OK(MPI_Sendrecv(out, n, MPI_BYTE, right, 5, in, MOST, MPI_BYTE, left, 5, MPI_COMM_WORLD, &status));
        OK(MPI_Get_count(&status, MPI_BYTE, &count));
        CHECK(count == n);
        CHECK(n == 0 || (in[0] == left + 1 && in[n - 1] == left + 1));
        OK(MPI_Sendrecv_replace(out, n, MPI_BYTE, right, 6, left, 6, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        CHECK(n == 0 || out[n - 1] == left + 1);
    }
    free(out);
    free(in);
}

static void probes(void)
{
    int out[3] = {rank, 2, 3}, in[3] = {0}, flag = 0, count;
    MPI_Status status;
    MPI_Request request;
    MPI_Message message;
    OK(MPI_Isend(out, 3, MPI_INT, right, 9, MPI_COMM_WORLD, &request));
    OK(MPI_Probe(MPI_ANY_SOURCE, MPI_ANY_TAG, MPI_COMM_WORLD, &status));
    OK(MPI_Get_count(&status, MPI_INT, &count));
    CHECK(status.MPI_SOURCE == left && status.MPI_TAG == 9 && count == 3);
    OK(MPI_Iprobe(left, 8, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
    CHECK(!flag);
    OK(MPI_Mprobe(left, 9, MPI_COMM_WORLD, &message, &status));
    CHECK(message != MPI_MESSAGE_NULL);
    OK(MPI_Iprobe(left, 9, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
    CHECK(!flag);
    OK(MPI_Mrecv(in, 3, MPI_INT, &message, &status));
    CHECK(message == MPI_MESSAGE_NULL && in[0] == left && in[2] == 3);
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    OK(MPI_Mprobe(MPI_PROC_NULL, 0, MPI_COMM_WORLD, &message, &status));
    CHECK(message == MPI_MESSAGE_NO_PROC && status.MPI_SOURCE == MPI_PROC_NULL);
    OK(MPI_Imrecv(in, 3, MPI_INT, &message, &request));
    OK(MPI_Wait(&request, &status));
    CHECK(message == MPI_MESSAGE_NULL && status.MPI_SOURCE == MPI_PROC_NULL);
    OK(MPI_Improbe(left, 33, MPI_COMM_WORLD, &flag, &message, &status));
    CHECK(!flag);
}

static void truncation(void)
{
    int out[4] = {1, 2, 3, 4}, in[4] = {0}, length;
    char text[MPI_MAX_ERROR_STRING];
    MPI_Request request;
    OK(MPI_Isend(out, 4, MPI_INT, right, 77, MPI_COMM_WORLD, &request));
    int code = MPI_Recv(in, 2, MPI_INT, left, 77, MPI_COMM_WORLD, MPI_STATUS_IGNORE);
    CHECK(class_of(code) == MPI_ERR_TRUNCATE);
    OK(MPI_Error_string(code, text, &length));
    CHECK(strstr(text, "MPI_ERR_TRUNCATE") && strstr(text, "77") && strstr(text, "16") && strstr(text, "8"));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    /* The same through a request: the status says which one failed. */
    MPI_Request two[2];
    MPI_Status statuses[2];
    int ok = 0;
    OK(MPI_Irecv(in, 2, MPI_INT, left, 78, MPI_COMM_WORLD, &two[0]));
    OK(MPI_Irecv(&ok, 1, MPI_INT, left, 79, MPI_COMM_WORLD, &two[1]));
    OK(MPI_Send(out, 4, MPI_INT, right, 78, MPI_COMM_WORLD));
    OK(MPI_Send(out, 1, MPI_INT, right, 79, MPI_COMM_WORLD));
    CHECK(MPI_Waitall(2, two, statuses) == MPI_ERR_IN_STATUS);
    CHECK(class_of(statuses[0].MPI_ERROR) == MPI_ERR_TRUNCATE && statuses[1].MPI_ERROR == MPI_SUCCESS && ok == 1);
    CHECK(two[0] == MPI_REQUEST_NULL && two[1] == MPI_REQUEST_NULL);
}

static void nobody(void)
{
    int n = 5, count = -1;
    MPI_Status status;
    OK(MPI_Send(&n, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_WORLD));
    OK(MPI_Recv(&n, 1, MPI_INT, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &status));
    OK(MPI_Get_count(&status, MPI_INT, &count));
    CHECK(n == 5 && count == 0 && status.MPI_SOURCE == MPI_PROC_NULL && status.MPI_TAG == MPI_ANY_TAG);
}

/* Where there is neither a process nor data, there need not be a datatype. */
static void nothing(void)
{
    MPI_Request request;
    MPI_Status status;
    OK(MPI_Irecv(NULL, 0, MPI_DATATYPE_NULL, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &request));
    OK(MPI_Wait(&request, &status));
    CHECK(status.MPI_SOURCE == MPI_PROC_NULL);
    OK(MPI_Isend(NULL, 0, MPI_DATATYPE_NULL, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &request));
    OK(MPI_Wait(&request, &status));
    OK(MPI_Send(NULL, 0, MPI_DATATYPE_NULL, MPI_PROC_NULL, 0, MPI_COMM_WORLD));
    OK(MPI_Recv(NULL, 0, MPI_DATATYPE_NULL, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &status));
    FAILS(MPI_ERR_TYPE, MPI_Recv(NULL, 1, MPI_DATATYPE_NULL, MPI_PROC_NULL, 0, MPI_COMM_WORLD, &status));
    FAILS(MPI_ERR_TYPE, MPI_Irecv(NULL, 0, MPI_DATATYPE_NULL, right, 0, MPI_COMM_WORLD, &request));
}

/* What exceeds the attached buffer is an error, whatever way the message takes. */
static void beyond_the_buffer(void)
{
    static char space[1000 + MPI_BSEND_OVERHEAD], data[2000], room[1000];
    void *back;
    int n;
    FAILS(MPI_ERR_BUFFER, MPI_Bsend(data, 1, MPI_CHAR, right, 9, MPI_COMM_WORLD));
    OK(MPI_Buffer_attach(space, sizeof space));
    OK(MPI_Bsend(data, 1000, MPI_CHAR, right, 9, MPI_COMM_WORLD));
    FAILS(MPI_ERR_BUFFER, MPI_Bsend(data, 1001, MPI_CHAR, right, 9, MPI_COMM_WORLD));
    FAILS(MPI_ERR_BUFFER, MPI_Bsend(data, 2000, MPI_CHAR, rank, 9, MPI_COMM_WORLD));
    OK(MPI_Recv(room, 1000, MPI_CHAR, left, 9, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    OK(MPI_Buffer_detach(&back, &n));
    CHECK(back == space && n == (int)sizeof space);
}

int main(void)
{
    begin();
    right = (rank + 1) % size;
    left = (rank + size - 1) % size;
    modes();
    exchange();
    OK(MPI_Barrier(MPI_COMM_WORLD));
    probes();
    OK(MPI_Barrier(MPI_COMM_WORLD));
    truncation();
    nobody();
    nothing();
    beyond_the_buffer();
    return finish();
}
