/* Grids and graphs asked for what they were made of; ranks that would suit them.
 * ranks: 1 2 3 8 */
#include "check.h"

static void grid(void)
{
    int dims[2] = {0, 0}, periods[2] = {1, 0}, found[2], round[2], here[2], where[2], number = -1, ndims = 0, mapped = -1;
    MPI_Comm comm;
    OK(MPI_Dims_create(size, 2, dims));
    CHECK(dims[0] * dims[1] == size);
    OK(MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &comm));
    OK(MPI_Cartdim_get(comm, &ndims));
    CHECK(ndims == 2);
    OK(MPI_Cart_get(comm, 2, found, round, here));
    CHECK(found[0] == dims[0] && found[1] == dims[1] && round[0] && !round[1]);
    OK(MPI_Cart_rank(comm, here, &number));
    CHECK(number == rank);
    OK(MPI_Cart_coords(comm, rank, 2, where));
    CHECK(where[0] == here[0] && where[1] == here[1]);
    OK(MPI_Cart_map(MPI_COMM_WORLD, 2, dims, periods, &mapped));
    CHECK(mapped >= 0 && mapped < size);
    /* Who is beyond the grid has no place in it. */
    int one[1] = {1};
    OK(MPI_Cart_map(MPI_COMM_WORLD, 1, one, periods, &mapped));
    CHECK(rank == 0 ? mapped == 0 : mapped == MPI_UNDEFINED);
    int many[1] = {size + 1};
    FAILS(MPI_ERR_DIMS, MPI_Cart_map(MPI_COMM_WORLD, 1, many, periods, &mapped));
    FAILS(MPI_ERR_ARG, MPI_Cart_get(comm, -1, found, round, here));
    FAILS(MPI_ERR_TOPOLOGY, MPI_Cartdim_get(MPI_COMM_WORLD, &ndims));
    FAILS(MPI_ERR_TOPOLOGY, MPI_Graph_get(comm, 1, 1, found, round));
    OK(MPI_Comm_free(&comm));
}

/* A ring as a graph: two edges from each rank, also where both lead to the same one. */
static void ring(void)
{
    int index[8], edges[16], found_index[8], found_edges[16], nodes = 0, count = 0, number = -1, around[2], mapped = -1;
    MPI_Comm comm;
    for (int r = 0; r < size; r++) {
        index[r] = 2 * (r + 1);
        edges[2 * r] = (r + size - 1) % size;
        edges[2 * r + 1] = (r + 1) % size;
    }
    OK(MPI_Graph_create(MPI_COMM_WORLD, size, index, edges, 0, &comm));
    OK(MPI_Graphdims_get(comm, &nodes, &count));
    CHECK(nodes == size && count == 2 * size);
    OK(MPI_Graph_get(comm, nodes, count, found_index, found_edges));
    CHECK(memcmp(found_index, index, (size_t)size * sizeof(int)) == 0);
    CHECK(memcmp(found_edges, edges, 2 * (size_t)size * sizeof(int)) == 0);
    for (int r = 0; r < size; r++) {
        OK(MPI_Graph_neighbors_count(comm, r, &number));
        CHECK(number == 2);
        OK(MPI_Graph_neighbors(comm, r, 2, around));
        CHECK(around[0] == edges[2 * r] && around[1] == edges[2 * r + 1]);
    }
    OK(MPI_Graph_map(MPI_COMM_WORLD, size, index, edges, &mapped));
    CHECK(mapped >= 0 && mapped < size);
    FAILS(MPI_ERR_RANK, MPI_Graph_neighbors_count(comm, size, &number));
    FAILS(MPI_ERR_RANK, MPI_Graph_neighbors(comm, -1, 2, around));
    FAILS(MPI_ERR_TOPOLOGY, MPI_Graphdims_get(MPI_COMM_WORLD, &nodes, &count));
    FAILS(MPI_ERR_TOPOLOGY, MPI_Cart_get(comm, 1, found_index, found_edges, around));
    OK(MPI_Comm_free(&comm));
}

int main(void)
{
    begin();
    grid();
    ring();
    return finish();
}
