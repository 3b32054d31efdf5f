/* Messages in every mode and form, packed and reduced data: in both widths.
 * ranks: 1 2 3 8
 * widths: int count */
#include "large.h"

enum { N = 5 };

static int out[N], in[N], to, from;
static MPI_Request pending;

static void reset(void)
{
    to = (rank + 1) % size;
    from = (rank + size - 1) % size;
    for (int i = 0; i < N; i++) {
        out[i] = 10 * rank + i;
        in[i] = -1;
    }
}

static void arrived(MPI_Status *status)
{
    count_t count = -1;
    for (int i = 0; i < N; i++) CHECK(in[i] == 10 * from + i);
    CHECK(status->MPI_SOURCE == from && status->MPI_TAG == 3);
    OK(MPI_Get_count(status, MPI_INT, &count));
    CHECK(count == N);
}

#define MESSAGE out, N, MPI_INT, to, 3, MPI_COMM_WORLD

/* Whoever sends in this way meets a receive that is posted, as a ready send needs it. */
#define SENDS(call)                                                                          \
    do {                                                                                     \
        MPI_Status status;                                                                   \
        reset();                                                                             \
        OK(MPI_Irecv(in, N, MPI_INT, from, 3, MPI_COMM_WORLD, &pending));                    \
        OK(MPI_Barrier(MPI_COMM_WORLD));                                                     \
        OK(call);                                                                            \
        OK(MPI_Wait(&pending, &status));                                                     \
        arrived(&status);                                                                    \
    } while (0)

#define STARTED(call)                                                                        \
    do {                                                                                     \
        MPI_Request request;                                                                 \
        SENDS((call) || MPI_Wait(&request, MPI_STATUS_IGNORE));                              \
    } while (0)

#define KEPT(call)                                                                           \
    do {                                                                                     \
        MPI_Request request;                                                                 \
        reset();                                                                             \
        OK(call);                                                                            \
        for (int round = 0; round < 2; round++)                                              \
            SENDS(MPI_Start(&request) || MPI_Wait(&request, MPI_STATUS_IGNORE));             \
        OK(MPI_Request_free(&request));                                                      \
    } while (0)

static void sent(void)
{
    static char room[8192];
    char *back = NULL;
    count_t bytes = -1;
    OK(MPI_Buffer_attach(room, sizeof room));
    SENDS(MPI_Send(MESSAGE));
    SENDS(MPI_Bsend(MESSAGE));
    SENDS(MPI_Ssend(MESSAGE));
    SENDS(MPI_Rsend(MESSAGE));
    STARTED(MPI_Isend(MESSAGE, &request));
    STARTED(MPI_Ibsend(MESSAGE, &request));
    STARTED(MPI_Issend(MESSAGE, &request));
    STARTED(MPI_Irsend(MESSAGE, &request));
    KEPT(MPI_Send_init(MESSAGE, &request));
    KEPT(MPI_Bsend_init(MESSAGE, &request));
    KEPT(MPI_Ssend_init(MESSAGE, &request));
    KEPT(MPI_Rsend_init(MESSAGE, &request));
    OK(MPI_Buffer_detach(&back, &bytes));
    CHECK(back == room && bytes == (count_t)sizeof room);
}

#define RECEIVES(call)                                                                       \
    do {                                                                                     \
        MPI_Request request = MPI_REQUEST_NULL;                                              \
        MPI_Message message = MPI_MESSAGE_NULL;                                              \
        MPI_Status status;                                                                   \
        (void)request, (void)message;                                                        \
        reset();                                                                             \
        OK(MPI_Isend(MESSAGE, &pending));                                                    \
        OK(call);                                                                            \
        OK(MPI_Wait(&pending, MPI_STATUS_IGNORE));                                           \
        arrived(&status);                                                                    \
    } while (0)

static void received(void)
{
    RECEIVES(MPI_Recv(in, N, MPI_INT, from, 3, MPI_COMM_WORLD, &status));
    RECEIVES(MPI_Mprobe(from, 3, MPI_COMM_WORLD, &message, &status) || MPI_Mrecv(in, N, MPI_INT, &message, &status));
    RECEIVES(MPI_Mprobe(from, 3, MPI_COMM_WORLD, &message, &status) ||
             MPI_Imrecv(in, N, MPI_INT, &message, &request) || MPI_Wait(&request, &status));
    RECEIVES(MPI_Recv_init(in, N, MPI_INT, from, 3, MPI_COMM_WORLD, &request) || MPI_Start(&request) ||
             MPI_Wait(&request, &status) || MPI_Request_free(&request));
}

static void exchanged(void)
{
    MPI_Request request;
    MPI_Status status;
    reset();
    OK(MPI_Sendrecv(out, N, MPI_INT, to, 3, in, N, MPI_INT, from, 3, MPI_COMM_WORLD, &status));
    arrived(&status);
    reset();
    OK(MPI_Isendrecv(out, N, MPI_INT, to, 3, in, N, MPI_INT, from, 3, MPI_COMM_WORLD, &request));
    OK(MPI_Wait(&request, &status));
    arrived(&status);
    reset();
    memcpy(in, out, sizeof in);
    OK(MPI_Sendrecv_replace(in, N, MPI_INT, to, 3, from, 3, MPI_COMM_WORLD, &status));
    arrived(&status);
    reset();
    memcpy(in, out, sizeof in);
    OK(MPI_Isendrecv_replace(in, N, MPI_INT, to, 3, from, 3, MPI_COMM_WORLD, &request));
    OK(MPI_Wait(&request, &status));
    arrived(&status);
    OK(MPI_Isendrecv_replace(in, N, MPI_INT, MPI_PROC_NULL, 3, MPI_PROC_NULL, 3, MPI_COMM_WORLD, &request));
    OK(MPI_Wait(&request, &status));
    CHECK(in[0] == 10 * from && status.MPI_SOURCE == MPI_PROC_NULL);
    FAILS(MPI_ERR_RANK, MPI_Isendrecv(out, N, MPI_INT, size, 3, in, N, MPI_INT, from, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_TAG, MPI_Isendrecv_replace(in, N, MPI_INT, to, -4, from, 3, MPI_COMM_WORLD, &request));
}

static void packed(void)
{
    char room[256];
    count_t bytes = -1, at = 0;
    ext_t bytes_outside = -1, outside = 0;
    reset();
    OK(MPI_Pack_size(N, MPI_INT, MPI_COMM_WORLD, &bytes));
    CHECK(bytes >= (count_t)sizeof out && bytes <= (count_t)sizeof room);
    OK(MPI_Pack(out, N, MPI_INT, room, sizeof room, &at, MPI_COMM_WORLD));
    CHECK(at == (count_t)sizeof out);
    FAILS(MPI_ERR_TRUNCATE, MPI_Pack(out, N, MPI_INT, room, at, &at, MPI_COMM_WORLD));
    at = 0;
    OK(MPI_Unpack(room, sizeof out, &at, in, N, MPI_INT, MPI_COMM_WORLD));
    CHECK(at == (count_t)sizeof out && memcmp(in, out, sizeof in) == 0);

    reset();
    OK(MPI_Pack_external_size("external32", N, MPI_INT, &bytes_outside));
    CHECK(bytes_outside == 4 * N);
    OK(MPI_Pack_external("external32", out, N, MPI_INT, room, sizeof room, &outside));
    CHECK(outside == 4 * N);
    /* The most significant byte comes first. */
    CHECK((unsigned char)room[7] == (unsigned char)out[1] && room[4] == 0);
    outside = 0;
    OK(MPI_Unpack_external("external32", room, 4 * N, &outside, in, N, MPI_INT));
    CHECK(outside == 4 * N && memcmp(in, out, sizeof in) == 0);
}

static void reduced(void)
{
    reset();
    memcpy(in, out, sizeof in);
    OK(MPI_Reduce_local(out, in, N, MPI_INT, MPI_SUM));
    for (int i = 0; i < N; i++) CHECK(in[i] == 2 * out[i]);
}

/* A count below zero, whatever is asked for. */
static void wrong(void)
{
    MPI_Request request;
    MPI_Status status;
    count_t at = 0;
    reset();
    FAILS(MPI_ERR_COUNT, MPI_Send(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COUNT, MPI_Bsend(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COUNT, MPI_Ssend(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COUNT, MPI_Rsend(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COUNT, MPI_Isend(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Ibsend(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Issend(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Irsend(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Send_init(out, -1, MPI_INT, to, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Recv_init(in, -1, MPI_INT, from, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Recv(in, -1, MPI_INT, from, 3, MPI_COMM_WORLD, &status));
    FAILS(MPI_ERR_COUNT, MPI_Irecv(in, -1, MPI_INT, from, 3, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Sendrecv(out, -1, MPI_INT, to, 3, in, N, MPI_INT, from, 3, MPI_COMM_WORLD, &status));
    FAILS(MPI_ERR_COUNT, MPI_Sendrecv_replace(in, -1, MPI_INT, to, 3, from, 3, MPI_COMM_WORLD, &status));
    FAILS(MPI_ERR_COUNT, MPI_Pack(out, -1, MPI_INT, in, sizeof in, &at, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COUNT, MPI_Reduce_local(out, in, -1, MPI_INT, MPI_SUM));
}

int main(void)
{
    begin();
    sent();
    received();
    exchanged();
    packed();
    reduced();
    wrong();
    return finish();
}
