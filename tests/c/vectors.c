/* Collectives with a count or type for each rank: blocking, nonblocking and persistent.
 * ranks: 1 2 3 8
 * widths: int count */
#include "large.h"

enum { MOST = 8, ROOM = MOST * (MOST + 1) };

static int out[ROOM], in[ROOM];
static count_t out_counts[MOST], in_counts[MOST], one_count;
static displ_t out_places[MOST], in_places[MOST];
static MPI_Datatype types[MOST];
static MPI_Request request;

/* Rank r has r + 1 elements for each, in the order of the ranks with a gap of one between. */
static void describe(void)
{
    int out_at = 0, in_at = 0;
    for (int r = 0; r < size; r++) {
        out_counts[r] = rank + 1;
        in_counts[r] = r + 1;
        out_places[r] = out_at;
        in_places[r] = in_at;
        out_at += rank + 2;
        in_at += r + 2;
        types[r] = MPI_INT;
    }
    one_count = rank + 1;
}

static int value(int from, int to, int i) { return 10000 * from + 100 * to + i; }

static void reset(void)
{
    memset(out, -1, sizeof out);
    memset(in, -1, sizeof in);
    for (int r = 0; r < size; r++)
        for (int i = 0; i <= rank; i++) out[(int)out_places[r] + i] = value(rank, r, i);
}

/* The block of `from` lies in its place, as it was meant for `to`, and what is behind it is as before. */
static int has(int from, int to)
{
    int at = (int)in_places[from];
    for (int i = 0; i <= from; i++)
        if (in[at + i] != value(from, to, i)) return 0;
    return in[at + from + 1] == -1;
}

static void each_from_all(void)
{
    for (int r = 0; r < size; r++) CHECK(has(r, rank));
}

static void first_from_all(void)
{
    for (int r = 0; r < size; r++) CHECK(has(r, 0));
}

static void first_at_last(void)
{
    if (rank == size - 1)
        first_from_all();
    else
        CHECK(in[0] == -1);
}

#define RUN(operation, check, ...)                                                           \
    do {                                                                                     \
        reset();                                                                             \
        OK(MPI_##operation(__VA_ARGS__));                                                    \
        check();                                                                             \
    } while (0)

#define FORMS(form, check, ...)                                                              \
    do {                                                                                     \
        reset();                                                                             \
        OK(MPI_I##form(__VA_ARGS__, &request));                                              \
        OK(MPI_Wait(&request, MPI_STATUS_IGNORE));                                           \
        check();                                                                             \
    } while (0)

#define STARTS(call, check)                                                                  \
    do {                                                                                     \
        OK(call);                                                                            \
        for (int round = 0; round < 2; round++) {                                            \
            reset();                                                                         \
            OK(MPI_Start(&request));                                                         \
            OK(MPI_Wait(&request, MPI_STATUS_IGNORE));                                       \
            check();                                                                         \
        }                                                                                    \
        OK(MPI_Request_free(&request));                                                      \
    } while (0)

#define ALLGATHERV out, one_count, MPI_INT, in, in_counts, in_places, MPI_INT, MPI_COMM_WORLD
#define GATHERV out, one_count, MPI_INT, in, in_counts, in_places, MPI_INT, size - 1, MPI_COMM_WORLD
#define ALLTOALLV out, out_counts, out_places, MPI_INT, in, in_counts, in_places, MPI_INT, MPI_COMM_WORLD

static void gathered(void)
{
    RUN(Allgatherv, first_from_all, ALLGATHERV);
    FORMS(allgatherv, first_from_all, ALLGATHERV);
    STARTS(MPI_Allgatherv_init(ALLGATHERV, MPI_INFO_NULL, &request), first_from_all);
    RUN(Gatherv, first_at_last, GATHERV);
    FORMS(gatherv, first_at_last, GATHERV);
    STARTS(MPI_Gatherv_init(GATHERV, MPI_INFO_NULL, &request), first_at_last);
}

static void exchanged(void)
{
    RUN(Alltoallv, each_from_all, ALLTOALLV);
    FORMS(alltoallv, each_from_all, ALLTOALLV);
    STARTS(MPI_Alltoallv_init(ALLTOALLV, MPI_INFO_NULL, &request), each_from_all);
}

/* As alltoallv, with displacements in bytes. */
static void exchanged_by_type(void)
{
    displ_t out_bytes[MOST], in_bytes[MOST];
    for (int r = 0; r < size; r++) {
        out_bytes[r] = out_places[r] * (displ_t)sizeof(int);
        in_bytes[r] = in_places[r] * (displ_t)sizeof(int);
    }
#define ALLTOALLW out, out_counts, out_bytes, types, in, in_counts, in_bytes, types, MPI_COMM_WORLD
    RUN(Alltoallw, each_from_all, ALLTOALLW);
    FORMS(alltoallw, each_from_all, ALLTOALLW);
    STARTS(MPI_Alltoallw_init(ALLTOALLW, MPI_INFO_NULL, &request), each_from_all);
}

/* The last rank sends r + 1 elements to rank r; all receive them at the start. */
static void from_last(void)
{
    for (int i = 0; i <= rank; i++) CHECK(in[i] == 100 * rank + i);
    CHECK(in[rank + 1] == -1);
}

static void scattered(void)
{
    int parts[ROOM];
    for (int r = 0; r < size; r++)
        for (int i = 0; i <= r; i++) parts[(int)in_places[r] + i] = 100 * r + i;
#define SCATTERV parts, in_counts, in_places, MPI_INT, in, one_count, MPI_INT, size - 1, MPI_COMM_WORLD
    RUN(Scatterv, from_last, SCATTERV);
    FORMS(scatterv, from_last, SCATTERV);
    STARTS(MPI_Scatterv_init(SCATTERV, MPI_INFO_NULL, &request), from_last);
}

/* Element k of the sum over all ranks; rank r gets r + 1 of them. */
static void summed(void)
{
    int first = rank * (rank + 1) / 2;
    for (int i = 0; i <= rank; i++) CHECK(in[i] == size * (first + i) + 1000 * size * (size - 1) / 2);
    CHECK(in[rank + 1] == -1);
}

static void reduced(void)
{
    int data[ROOM];
    for (int k = 0; k < size * (size + 1) / 2; k++) data[k] = k + 1000 * rank;
#define REDUCE_SCATTER data, in, in_counts, MPI_INT, MPI_SUM, MPI_COMM_WORLD
    RUN(Reduce_scatter, summed, REDUCE_SCATTER);
    FORMS(reduce_scatter, summed, REDUCE_SCATTER);
    STARTS(MPI_Reduce_scatter_init(REDUCE_SCATTER, MPI_INFO_NULL, &request), summed);
}

/* One rank's own call is refused before anything is sent, so all make the same mistake. */
static void wrong(void)
{
    count_t below[MOST];
    for (int r = 0; r < size; r++) below[r] = -1;
    FAILS(MPI_ERR_COUNT, MPI_Iallgatherv(out, one_count, MPI_INT, in, below, in_places, MPI_INT, MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_COUNT, MPI_Ialltoallv(out, below, out_places, MPI_INT, in, in_counts, in_places, MPI_INT, MPI_COMM_WORLD,
                                        &request));
    FAILS(MPI_ERR_COUNT, MPI_Reduce_scatter(out, in, below, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
    FAILS(MPI_ERR_TYPE, MPI_Iallgatherv(out, one_count, MPI_DATATYPE_NULL, in, in_counts, in_places, MPI_INT,
                                        MPI_COMM_WORLD, &request));
    FAILS(MPI_ERR_ROOT, MPI_Igatherv(out, one_count, MPI_INT, in, in_counts, in_places, MPI_INT, size, MPI_COMM_WORLD,
                                     &request));
    FAILS(MPI_ERR_ROOT, MPI_Scatterv(out, in_counts, in_places, MPI_INT, in, one_count, MPI_INT, -7, MPI_COMM_WORLD));
    FAILS(MPI_ERR_COMM, MPI_Alltoallw(out, out_counts, out_places, types, in, in_counts, in_places, types, MPI_COMM_NULL));
}

int main(void)
{
    begin();
    describe();
    gathered();
    exchanged();
    exchanged_by_type();
    scattered();
    reduced();
    wrong();
    return finish();
}
