/* Reduction operations: predefined, pairs, the program's own, with derived types and with MPI_Count.
 * ranks: 1 2 3 4 */
#include "check.h"

static int calls;

/* Writes the digits of both operands one after the other: associative, but not commutative.
 * An element is the digits and ten to the power of their number. */
static void append(void *in, void *inout, int *len, MPI_Datatype *type)
{
    long *a = in, *b = inout;
    int bytes = 0;
    calls++;
    MPI_Type_size(*type, &bytes);
    if (bytes != 2 * (int)sizeof(long))
        failures++;
    for (int i = 0; i < *len; i++) {
        b[2 * i] += a[2 * i] * b[2 * i + 1];
        b[2 * i + 1] *= a[2 * i + 1];
    }
}

static void add_large(void *in, void *inout, MPI_Count *len, MPI_Datatype *type)
{
    double *a = in, *b = inout;
    MPI_Aint lb, extent;
    MPI_Type_get_extent(*type, &lb, &extent);
    for (MPI_Count i = 0; i < *len * (extent / (MPI_Aint)sizeof(double)); i++)
        b[i] += a[i];
}

int main(void)
{
    begin();
    int commute;
    long value[2] = {rank + 1, 10}, result[2] = {0, 0}, digits = 0;
    MPI_Op op;
    MPI_Datatype number;
    OK(MPI_Op_commutative(MPI_SUM, &commute));
    CHECK(commute);
    OK(MPI_Type_contiguous(2, MPI_LONG, &number));
    OK(MPI_Type_commit(&number));
    OK(MPI_Op_create(append, 0, &op));
    OK(MPI_Op_commutative(op, &commute));
    CHECK(!commute);
    OK(MPI_Allreduce(value, result, 1, number, op, MPI_COMM_WORLD));
    for (int i = 0; i < size; i++)
        digits = digits * 10 + i + 1;
    CHECK(result[0] == digits);
    OK(MPI_Reduce_local(value, result, 1, number, op));
    CHECK(calls > 0 && result[1] != 0 && result[0] % 10 == digits % 10);
    OK(MPI_Op_free(&op));
    CHECK(op == MPI_OP_NULL);
    OK(MPI_Type_free(&number));

    MPI_Datatype pair;
    double out[4] = {1, 2, 3, 4}, in[4];
    OK(MPI_Type_contiguous(2, MPI_DOUBLE, &pair));
    OK(MPI_Type_commit(&pair));
    OK(MPI_Op_create_c(add_large, 1, &op));
    OK(MPI_Allreduce(out, in, 2, pair, op, MPI_COMM_WORLD));
    CHECK(in[0] == size && in[3] == 4 * size);
    FAILS(MPI_ERR_OP, MPI_Allreduce(out, in, 2, pair, MPI_SUM, MPI_COMM_WORLD));
    OK(MPI_Op_free(&op));
    OK(MPI_Type_free(&pair));

    struct {
        double value;
        int index;
    } mine = {(rank * 7) % 5, rank}, best;
    OK(MPI_Allreduce(&mine, &best, 1, MPI_DOUBLE_INT, MPI_MAXLOC, MPI_COMM_WORLD));
    int at = 0;
    for (int i = 0; i < size; i++)
        if ((i * 7) % 5 > (at * 7) % 5)
            at = i;
    CHECK(best.index == at && best.value == (at * 7) % 5);
    OK(MPI_Allreduce(&mine, &best, 1, MPI_DOUBLE_INT, MPI_MINLOC, MPI_COMM_WORLD));
    CHECK(best.index == 0 && best.value == 0);

    unsigned bits = 1u << rank, all = 0;
    OK(MPI_Allreduce(&bits, &all, 1, MPI_UNSIGNED, MPI_BOR, MPI_COMM_WORLD));
    CHECK(all == (1u << size) - 1);
    _Bool yes = rank == 0, any = 0;
    OK(MPI_Allreduce(&yes, &any, 1, MPI_C_BOOL, MPI_LOR, MPI_COMM_WORLD));
    CHECK(any);
    OK(MPI_Allreduce(&yes, &any, 1, MPI_C_BOOL, MPI_LAND, MPI_COMM_WORLD));
    CHECK(any == (size == 1));
    FAILS(MPI_ERR_OP, MPI_Allreduce(out, in, 1, MPI_DOUBLE, MPI_BXOR, MPI_COMM_WORLD));
    return finish();
}
