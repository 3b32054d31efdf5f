/* Derived datatypes: sizes and extents, how they were made, messages of them, packing, the portable representation.
 * ranks: 1 2 */
#include "check.h"
#include <stddef.h>

struct particle {
    char kind;
    double position[3];
    short charge;
};

static MPI_Datatype particle_type(void)
{
    MPI_Datatype made, type, parts[3] = {MPI_CHAR, MPI_DOUBLE, MPI_SHORT};
    int lengths[3] = {1, 3, 1};
    MPI_Aint at[3] = {offsetof(struct particle, kind), offsetof(struct particle, position),
                      offsetof(struct particle, charge)};
    OK(MPI_Type_create_struct(3, lengths, at, parts, &made));
    OK(MPI_Type_create_resized(made, 0, sizeof(struct particle), &type));
    OK(MPI_Type_free(&made));
    OK(MPI_Type_commit(&type));
    return type;
}

static void sizes(void)
{
    MPI_Datatype type, dup;
    MPI_Aint lb, extent;
    MPI_Count big;
    int n, length, integers, addresses, types, combiner, ints[3];
    MPI_Aint where[1];
    MPI_Datatype inner[1];
    char name[MPI_MAX_OBJECT_NAME];
    OK(MPI_Type_vector(3, 2, 4, MPI_INT, &type));
    OK(MPI_Type_size(type, &n));
    OK(MPI_Type_get_extent(type, &lb, &extent));
    CHECK(n == 24 && lb == 0 && extent == 40);
    OK(MPI_Type_size_c(type, &big));
    CHECK(big == 24);
    OK(MPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner));
    CHECK(integers == 3 && addresses == 0 && types == 1 && combiner == MPI_COMBINER_VECTOR);
    OK(MPI_Type_get_contents(type, 3, 0, 1, ints, where, inner));
    CHECK(ints[0] == 3 && ints[1] == 2 && ints[2] == 4 && inner[0] == MPI_INT);
    FAILS(MPI_ERR_ARG, MPI_Type_get_contents(type, 2, 0, 1, ints, where, inner));
    OK(MPI_Type_set_name(type, "columns"));
    OK(MPI_Type_get_name(type, name, &length));
    CHECK(strcmp(name, "columns") == 0 && length == 7);
    OK(MPI_Type_dup(type, &dup));
    OK(MPI_Type_free(&type));
    OK(MPI_Type_get_envelope(dup, &integers, &addresses, &types, &combiner));
    CHECK(combiner == MPI_COMBINER_DUP && types == 1);
    OK(MPI_Type_get_contents(dup, 0, 0, 1, ints, where, inner));
    CHECK(inner[0] != dup && inner[0] != MPI_DATATYPE_NULL);
    OK(MPI_Type_free(&inner[0]));
    OK(MPI_Type_free(&dup));
    OK(MPI_Type_get_name(MPI_INT, name, &length));
    CHECK(strcmp(name, "MPI_INT") == 0);
    OK(MPI_Type_get_name(MPI_C_COMPLEX, name, &length));
    CHECK(strcmp(name, "MPI_C_COMPLEX") == 0);
    OK(MPI_Type_get_envelope(MPI_INT, &integers, &addresses, &types, &combiner));
    CHECK(combiner == MPI_COMBINER_NAMED);
    FAILS(MPI_ERR_TYPE, MPI_Type_get_contents(MPI_INT, 0, 0, 0, ints, where, inner));
    OK(MPI_Type_vector_c(3, 2, 4, MPI_INT, &type));
    FAILS(MPI_ERR_TYPE, MPI_Type_get_envelope(type, &integers, &addresses, &types, &combiner));
    MPI_Count ni, na, nl, nt;
    OK(MPI_Type_get_envelope_c(type, &ni, &na, &nl, &nt, &combiner));
    CHECK(nl == 3 && nt == 1 && combiner == MPI_COMBINER_VECTOR);
    OK(MPI_Type_free(&type));
}

static void messages(void)
{
    MPI_Datatype type = particle_type(), column;
    struct particle out[4], in[4];
    int right = (rank + 1) % size, left = (rank + size - 1) % size, count, elements;
    MPI_Status status;
    memset(out, 0, sizeof out);
    memset(in, 0x55, sizeof in);
    for (int i = 0; i < 4; i++) {
        out[i].kind = 'a' + i;
        out[i].position[1] = rank + i / 8.0;
        out[i].charge = -i;
    }
    OK(MPI_Sendrecv(out, 4, type, right, 0, in, 4, type, left, 0, MPI_COMM_WORLD, &status));
    OK(MPI_Get_count(&status, type, &count));
    OK(MPI_Get_elements(&status, type, &elements));
    CHECK(count == 4 && elements == 20);
    for (int i = 0; i < 4; i++) {
        CHECK(in[i].kind == 'a' + i && in[i].position[1] == left + i / 8.0 && in[i].charge == -i);
        CHECK(((unsigned char *)&in[i])[1] == 0x55); /* gaps stay as they were */
    }
    OK(MPI_Type_free(&type));

    enum { ROWS = 200, COLUMNS = 100 };
    static double matrix[ROWS][COLUMNS], line[ROWS];
    OK(MPI_Type_vector(ROWS, 1, COLUMNS, MPI_DOUBLE, &column));
    OK(MPI_Type_commit(&column));
    for (int i = 0; i < ROWS; i++)
        matrix[i][7] = rank * 1000 + i;
    OK(MPI_Sendrecv(&matrix[0][7], 1, column, right, 1, line, ROWS, MPI_DOUBLE, left, 1, MPI_COMM_WORLD,
                    MPI_STATUS_IGNORE));
    for (int i = 0; i < ROWS; i++)
        CHECK(line[i] == left * 1000 + i);
    OK(MPI_Type_free(&column));

    /* Absolute addresses. */
    int a = rank, b = rank + 1, got[2] = {0};
    int ones[2] = {1, 1};
    MPI_Aint at[2];
    MPI_Datatype pair;
    OK(MPI_Get_address(&a, &at[0]));
    OK(MPI_Get_address(&b, &at[1]));
    OK(MPI_Type_create_hindexed(2, ones, at, MPI_INT, &pair));
    OK(MPI_Type_commit(&pair));
    OK(MPI_Sendrecv(MPI_BOTTOM, 1, pair, right, 2, got, 2, MPI_INT, left, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    CHECK(got[0] == left && got[1] == left + 1);
    OK(MPI_Type_free(&pair));
}

static void arrays(void)
{
    int sizes2[2] = {4, 6}, sub[2] = {2, 3}, start[2] = {1, 2}, data[4][6], part[6];
    MPI_Datatype type;
    for (int i = 0; i < 24; i++)
        data[i / 6][i % 6] = i;
    OK(MPI_Type_create_subarray(2, sizes2, sub, start, MPI_ORDER_C, MPI_INT, &type));
    OK(MPI_Type_commit(&type));
    OK(MPI_Sendrecv(data, 1, type, 0, 0, part, 6, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE));
    CHECK(part[0] == 8 && part[2] == 10 && part[3] == 14 && part[5] == 16);
    OK(MPI_Type_free(&type));
    int distribs[2] = {MPI_DISTRIBUTE_BLOCK, MPI_DISTRIBUTE_CYCLIC};
    int dargs[2] = {MPI_DISTRIBUTE_DFLT_DARG, MPI_DISTRIBUTE_DFLT_DARG}, grid[2] = {2, 2}, n;
    OK(MPI_Type_create_darray(4, 3, 2, sizes2, distribs, dargs, grid, MPI_ORDER_C, MPI_INT, &type));
    OK(MPI_Type_size(type, &n));
    CHECK(n == 6 * (int)sizeof(int));
    OK(MPI_Type_commit(&type));
    OK(MPI_Sendrecv(data, 1, type, 0, 0, part, 6, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE));
    CHECK(part[0] == 13 && part[1] == 15 && part[5] == 23);
    OK(MPI_Type_free(&type));
}

static void packing(void)
{
    char buffer[256];
    int n = 0, position = 0, out[3] = {1, 2, 3}, in[3] = {0};
    double x = 2.5, y = 0;
    OK(MPI_Pack_size(3, MPI_INT, MPI_COMM_WORLD, &n));
    CHECK(n >= 12);
    OK(MPI_Pack(out, 3, MPI_INT, buffer, sizeof buffer, &position, MPI_COMM_WORLD));
    OK(MPI_Pack(&x, 1, MPI_DOUBLE, buffer, sizeof buffer, &position, MPI_COMM_WORLD));
    int end = position;
    position = 0;
    OK(MPI_Unpack(buffer, end, &position, in, 3, MPI_INT, MPI_COMM_WORLD));
    OK(MPI_Unpack(buffer, end, &position, &y, 1, MPI_DOUBLE, MPI_COMM_WORLD));
    CHECK(position == end && in[0] == 1 && in[2] == 3 && y == 2.5);
    CHECK(MPI_Unpack(buffer, end, &position, &y, 1, MPI_DOUBLE, MPI_COMM_WORLD) != MPI_SUCCESS);
    position = 250;
    CHECK(MPI_Pack(out, 3, MPI_INT, buffer, sizeof buffer, &position, MPI_COMM_WORLD) != MPI_SUCCESS);
    MPI_Aint where = 0, bytes = 0;
    OK(MPI_Pack_external_size("external32", 3, MPI_INT, &bytes));
    CHECK(bytes == 12);
    OK(MPI_Pack_external("external32", out, 3, MPI_INT, buffer, sizeof buffer, &where));
    CHECK(where == 12 && buffer[3] == 1 && buffer[0] == 0); /* big-endian */
    where = 0;
    memset(in, 0, sizeof in);
    OK(MPI_Unpack_external("external32", buffer, 12, &where, in, 3, MPI_INT));
    CHECK(in[1] == 2 && where == 12);
    FAILS(MPI_ERR_ARG, MPI_Pack_external_size("internal", 3, MPI_INT, &bytes));
}

int main(void)
{
    begin();
    sizes();
    messages();
    arrays();
    packing();
    return finish();
}
