/* Collectives among neighbours: every form in both widths, on grids, graphs and distributed graphs.
 * ranks: 1 2 3 8 */
#include "check.h"

enum { BLOCK = 3, MOST = 4 };

static MPI_Comm ring, graph, pairs;
static int out[MOST * BLOCK * 2], in[MOST * BLOCK * 2];
static MPI_Request request;

static int left_of(int of) { return (of + size - 1) % size; }
static int right_of(int of) { return (of + 1) % size; }

static int value(int of, int slot, int i) { return 1000 * of + 100 * slot + i; }

/* What is sent in each place, and nothing received yet. */
static void reset(void)
{
    for (int slot = 0; slot < MOST; slot++)
        for (int i = 0; i < BLOCK; i++) out[slot * BLOCK + i] = value(rank, slot, i);
    for (int i = 0; i < MOST * BLOCK * 2; i++) in[i] = -1;
}

/* In place `at` lies block `slot` of rank `from`. */
static int has(int at, int from, int slot)
{
    for (int i = 0; i < BLOCK; i++)
        if (in[at * BLOCK + i] != value(from, slot, i)) return 0;
    return 1;
}

/* In the ring, the left one sent to its right one: its second block. */
static void each_from_ring(void)
{
    CHECK(has(0, left_of(rank), 1));
    CHECK(has(1, right_of(rank), 0));
    CHECK(in[2 * BLOCK] == -1);
}

static void same_from_ring(void)
{
    CHECK(has(0, left_of(rank), 0));
    CHECK(has(1, right_of(rank), 0));
    CHECK(in[2 * BLOCK] == -1);
}

/* With displacements the blocks lie the other way round. */
static void each_swapped(void)
{
    CHECK(has(1, left_of(rank), 0));
    CHECK(has(0, right_of(rank), 1));
}

static void same_swapped(void)
{
    CHECK(has(1, left_of(rank), 0));
    CHECK(has(0, right_of(rank), 0));
}

#define RUN(operation, width, check, ...)                                                    \
    do {                                                                                     \
        reset();                                                                             \
        OK(MPI_Neighbor_##operation##width(__VA_ARGS__));                                    \
        check();                                                                             \
        reset();                                                                             \
        OK(MPI_Ineighbor_##operation##width(__VA_ARGS__, &request));                         \
        OK(MPI_Wait(&request, MPI_STATUS_IGNORE));                                           \
        check();                                                                             \
        OK(MPI_Neighbor_##operation##_init##width(__VA_ARGS__, MPI_INFO_NULL, &request));    \
        for (int round = 0; round < 2; round++) {                                            \
            reset();                                                                         \
            OK(MPI_Start(&request));                                                         \
            OK(MPI_Wait(&request, MPI_STATUS_IGNORE));                                       \
            check();                                                                         \
        }                                                                                    \
        OK(MPI_Request_free(&request));                                                      \
    } while (0)

#define ALL_FAIL(class, operation, width, ...)                                               \
    do {                                                                                     \
        FAILS(class, MPI_Neighbor_##operation##width(__VA_ARGS__));                          \
        FAILS(class, MPI_Ineighbor_##operation##width(__VA_ARGS__, &request));               \
        FAILS(class,                                                                         \
              MPI_Neighbor_##operation##_init##width(__VA_ARGS__, MPI_INFO_NULL, &request)); \
    } while (0)

static void every_form_in_both_widths(void)
{
    int n[2] = {BLOCK, BLOCK}, swapped[2] = {BLOCK, 0};
    MPI_Count nc[2] = {BLOCK, BLOCK};
    MPI_Aint at[2] = {BLOCK, 0}, bytes[2] = {BLOCK * sizeof(int), 0};
    MPI_Datatype types[2] = {MPI_INT, MPI_INT};

    RUN(allgather, , same_from_ring, out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, ring);
    RUN(allgather, _c, same_from_ring, out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, ring);
    RUN(allgatherv, , same_swapped, out, BLOCK, MPI_INT, in, n, swapped, MPI_INT, ring);
    RUN(allgatherv, _c, same_swapped, out, BLOCK, MPI_INT, in, nc, at, MPI_INT, ring);
    RUN(alltoall, , each_from_ring, out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, ring);
    RUN(alltoall, _c, each_from_ring, out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, ring);
    RUN(alltoallv, , each_swapped, out, n, swapped, MPI_INT, in, n, swapped, MPI_INT, ring);
    RUN(alltoallv, _c, each_swapped, out, nc, at, MPI_INT, in, nc, at, MPI_INT, ring);
    RUN(alltoallw, , each_swapped, out, n, bytes, types, in, n, bytes, types, ring);
    RUN(alltoallw, _c, each_swapped, out, nc, bytes, types, in, nc, bytes, types, ring);
}

/* Displacements are addresses in the plain function too: here they are, from MPI_BOTTOM, further than an int says. */
static void displacements_are_addresses(void)
{
    int n[2] = {BLOCK, BLOCK};
    MPI_Datatype types[2] = {MPI_INT, MPI_INT};
    MPI_Aint from[2], to[2];
    for (int slot = 0; slot < 2; slot++) {
        OK(MPI_Get_address(out + slot * BLOCK, from + slot));
        OK(MPI_Get_address(in + slot * BLOCK, to + slot));
    }
    RUN(alltoallw, , each_from_ring, MPI_BOTTOM, n, from, types, MPI_BOTTOM, n, to, types, ring);
}

/* Every second element, on the receiving side only. */
static void layouts_may_differ(void)
{
    MPI_Datatype spread;
    OK(MPI_Type_vector(BLOCK, 1, 2, MPI_INT, &spread));
    OK(MPI_Type_commit(&spread));
    int n[2] = {BLOCK, BLOCK}, one[2] = {1, 1};
    MPI_Aint from[2] = {0, BLOCK * sizeof(int)}, to[2] = {0, 2 * BLOCK * sizeof(int)};
    MPI_Datatype plain[2] = {MPI_INT, MPI_INT}, wide[2] = {spread, spread};
    reset();
    OK(MPI_Neighbor_alltoallw(out, n, from, plain, in, one, to, wide, ring));
    OK(MPI_Type_free(&spread));
    for (int i = 0; i < BLOCK; i++) {
        CHECK(in[2 * i] == value(left_of(rank), 1, i));
        CHECK(in[2 * (BLOCK + i)] == value(right_of(rank), 0, i));
        CHECK(in[2 * i + 1] == -1);
    }
}

/* Everybody is next to itself and, twice, to the one on the right: edges meet in the order of the lists. */
static void graphs_move_along_edges(void)
{
    int to[3] = {right_of(rank), rank, right_of(rank)};
    int from[3] = {left_of(rank), left_of(rank), rank};
    if (size == 1) from[0] = from[1] = from[2] = 0;
    OK(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 3, from, MPI_UNWEIGHTED, 3, to, MPI_UNWEIGHTED,
                                      MPI_INFO_NULL, 0, &graph));
    reset();
    OK(MPI_Neighbor_alltoall(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, graph));
    CHECK(has(0, left_of(rank), 0));
    CHECK(size == 1 ? has(1, 0, 1) : has(1, left_of(rank), 2));
    CHECK(size == 1 ? has(2, 0, 2) : has(2, rank, 1));
    /* A duplicate has the same neighbours. */
    MPI_Comm twin;
    OK(MPI_Comm_dup(graph, &twin));
    reset();
    OK(MPI_Neighbor_allgather(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, twin));
    CHECK(has(0, left_of(rank), 0) && has(1, left_of(rank), 0) && has(2, rank, 0));
    OK(MPI_Comm_free(&twin));
    OK(MPI_Comm_free(&graph));
    /* Nobody has neighbours. */
    OK(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 0, NULL, MPI_UNWEIGHTED, 0, NULL, MPI_UNWEIGHTED,
                                      MPI_INFO_NULL, 0, &graph));
    reset();
    OK(MPI_Neighbor_alltoall(NULL, BLOCK, MPI_INT, NULL, BLOCK, MPI_INT, graph));
    OK(MPI_Neighbor_alltoallw(NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, graph));
    CHECK(in[0] == -1);
    OK(MPI_Comm_free(&graph));
}

static void edges_of_a_known_graph_lead_both_ways(void)
{
    if (size < 2) return;
    int both_index[2] = {1, 2}, both[2] = {1, 0}, one_index[2] = {1, 1}, one[1] = {1};
    OK(MPI_Graph_create(MPI_COMM_WORLD, 2, both_index, both, 0, &pairs));
    if (pairs != MPI_COMM_NULL) {
        reset();
        OK(MPI_Neighbor_alltoall(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, pairs));
        CHECK(has(0, 1 - rank, 0));
        OK(MPI_Comm_free(&pairs));
    }
    OK(MPI_Graph_create(MPI_COMM_WORLD, 2, one_index, one, 0, &pairs));
    if (pairs != MPI_COMM_NULL) {
        ALL_FAIL(MPI_ERR_TOPOLOGY, alltoall, , out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, pairs);
        OK(MPI_Comm_free(&pairs));
    }
}

/* An edge that only one of its ends names would be waited for for ever: collectives on such a graph fail on all. */
static void edges_are_named_at_both_ends(void)
{
    int twice[2] = {rank, rank}, last = size - 1;
    MPI_Comm loops;
    OK(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 2, twice, MPI_UNWEIGHTED, rank == last ? 1 : 2, twice,
                                      MPI_UNWEIGHTED, MPI_INFO_NULL, 0, &loops));
    ALL_FAIL(MPI_ERR_TOPOLOGY, alltoall, , out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, loops);
    OK(MPI_Comm_free(&loops));
    OK(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, rank == 0, &last, MPI_UNWEIGHTED, 0, NULL, MPI_UNWEIGHTED,
                                      MPI_INFO_NULL, 0, &loops));
    int edges[3] = {-1, -1, -1};
    OK(MPI_Dist_graph_neighbors_count(loops, &edges[0], &edges[1], &edges[2]));
    CHECK(edges[0] == (rank == 0) && edges[1] == 0 && edges[2] == 0);
    ALL_FAIL(MPI_ERR_TOPOLOGY, allgather, , out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, loops);
    OK(MPI_Comm_free(&loops));
    OK(MPI_Dist_graph_create_adjacent(MPI_COMM_WORLD, 2, twice, MPI_UNWEIGHTED, 2, twice, MPI_UNWEIGHTED,
                                      MPI_INFO_NULL, 0, &loops));
    reset();
    OK(MPI_Neighbor_alltoall(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, loops));
    CHECK(has(0, rank, 0) && has(1, rank, 1));
    OK(MPI_Comm_free(&loops));
}

/* At the ends of a line a neighbour is missing: its place stays as it is. */
static void nobody_sends_nothing(void)
{
    int dims[1] = {size}, periods[1] = {0};
    MPI_Comm line;
    OK(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &line));
    reset();
    OK(MPI_Neighbor_alltoall(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, line));
    CHECK(rank == 0 ? in[0] == -1 : has(0, rank - 1, 1));
    CHECK(rank == size - 1 ? in[BLOCK] == -1 : has(1, rank + 1, 0));
    OK(MPI_Comm_free(&line));
}

/* A persistent operation outlives its communicator's handle. */
static void operations_outlive_the_handle(void)
{
    MPI_Comm twin;
    OK(MPI_Comm_dup(ring, &twin));
    OK(MPI_Neighbor_alltoall_init(out, BLOCK, MPI_INT, in, BLOCK, MPI_INT, twin, MPI_INFO_NULL, &request));
    OK(MPI_Comm_free(&twin));
    reset();
    OK(MPI_Start(&request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    each_from_ring();
    OK(MPI_Request_free(&request));
}

static void mistakes(void)
{
    int n[2] = {1, 1}, less[2] = {1, -1};
    MPI_Count nc[2] = {1, 1};
    MPI_Aint at[2] = {0, sizeof(int)};
    MPI_Datatype types[2] = {MPI_INT, MPI_INT}, none[2] = {MPI_INT, MPI_DATATYPE_NULL};
    MPI_Comm world = MPI_COMM_WORLD;

    ALL_FAIL(MPI_ERR_TOPOLOGY, allgather, , out, 1, MPI_INT, in, 1, MPI_INT, world);
    ALL_FAIL(MPI_ERR_TOPOLOGY, allgatherv, _c, out, 1, MPI_INT, in, nc, at, MPI_INT, world);
    ALL_FAIL(MPI_ERR_TOPOLOGY, alltoall, _c, out, 1, MPI_INT, in, 1, MPI_INT, world);
    ALL_FAIL(MPI_ERR_TOPOLOGY, alltoallv, , out, n, n, MPI_INT, in, n, n, MPI_INT, world);
    ALL_FAIL(MPI_ERR_TOPOLOGY, alltoallw, , out, n, at, types, in, n, at, types, world);
    ALL_FAIL(MPI_ERR_COMM, alltoall, , out, 1, MPI_INT, in, 1, MPI_INT, MPI_COMM_NULL);
    ALL_FAIL(MPI_ERR_BUFFER, allgather, , MPI_IN_PLACE, 1, MPI_INT, in, 1, MPI_INT, ring);
    ALL_FAIL(MPI_ERR_BUFFER, alltoallv, , out, n, n, MPI_INT, MPI_IN_PLACE, n, n, MPI_INT, ring);
    ALL_FAIL(MPI_ERR_COUNT, allgather, , out, -1, MPI_INT, in, 1, MPI_INT, ring);
    ALL_FAIL(MPI_ERR_COUNT, alltoall, _c, out, 1, MPI_INT, in, -1, MPI_INT, ring);
    ALL_FAIL(MPI_ERR_COUNT, alltoallw, , out, less, at, types, in, n, at, types, ring);
    ALL_FAIL(MPI_ERR_COUNT, allgatherv, , out, 1, MPI_INT, in, less, n, MPI_INT, ring);
    ALL_FAIL(MPI_ERR_TYPE, alltoall, , out, 1, MPI_DATATYPE_NULL, in, 1, MPI_INT, ring);
    ALL_FAIL(MPI_ERR_TYPE, alltoallw, _c, out, nc, at, types, in, nc, at, none, ring);
    ALL_FAIL(MPI_ERR_ARG, alltoallv, , out, NULL, n, MPI_INT, in, n, n, MPI_INT, ring);
    ALL_FAIL(MPI_ERR_ARG, alltoallw, , out, n, NULL, types, in, n, at, types, ring);
    ALL_FAIL(MPI_ERR_ARG, alltoallw, , out, n, at, types, in, n, at, NULL, ring);
    FAILS(MPI_ERR_ARG, MPI_Ineighbor_alltoall(out, 1, MPI_INT, in, 1, MPI_INT, ring, NULL));

    char text[MPI_MAX_ERROR_STRING];
    int length, code = MPI_Ineighbor_alltoall(out, -4, MPI_INT, in, 1, MPI_INT, ring, &request);
    OK(MPI_Error_string(code, text, &length));
    CHECK(strstr(text, "MPI_Ineighbor_alltoall") != NULL && strstr(text, "-4") != NULL);
}

/* The receiver has room for less than comes: an error that says both, and nothing beyond its room. */
static void too_long(void)
{
    MPI_Comm twin;
    OK(MPI_Comm_dup(ring, &twin));
    reset();
    FAILS(MPI_ERR_TRUNCATE, MPI_Neighbor_alltoall(out, BLOCK, MPI_INT, in, 1, MPI_INT, twin));
    CHECK(in[2] == -1);
    MPI_Barrier(MPI_COMM_WORLD);
    OK(MPI_Comm_free(&twin));
}

int main(void)
{
    begin();
    int dims[1] = {size}, periods[1] = {1};
    OK(MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &ring));
    every_form_in_both_widths();
    displacements_are_addresses();
    layouts_may_differ();
    graphs_move_along_edges();
    edges_of_a_known_graph_lead_both_ways();
    edges_are_named_at_both_ends();
    nobody_sends_nothing();
    operations_outlive_the_handle();
    mistakes();
    too_long();
    OK(MPI_Comm_free(&ring));
    return finish();
}
