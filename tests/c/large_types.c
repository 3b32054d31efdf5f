/* Datatypes larger than 2^31 bytes, without memory of that size, and counts below zero.
 * ranks: 1 2 */
#include "check.h"

static const MPI_Count BIG = 3000000000;

static void sizes(void)
{
    MPI_Datatype type;
    MPI_Count n, low, extent;
    int small;
    OK(MPI_Type_contiguous_c(BIG, MPI_INT, &type));
    OK(MPI_Type_commit(&type));
    OK(MPI_Type_size_c(type, &n));
    CHECK(n == 4 * BIG);
    OK(MPI_Type_size(type, &small));
    CHECK(small == MPI_UNDEFINED);
    OK(MPI_Type_get_extent_c(type, &low, &extent));
    CHECK(low == 0 && extent == 4 * BIG);
    OK(MPI_Type_get_true_extent_c(type, &low, &extent));
    CHECK(low == 0 && extent == 4 * BIG);
    OK(MPI_Type_free(&type));
}

static void elements(void)
{
    MPI_Status status;
    MPI_Count n;
    int small;
    memset(&status, 0, sizeof status);
    OK(MPI_Status_set_elements_c(&status, MPI_INT, BIG));
    OK(MPI_Get_count_c(&status, MPI_INT, &n));
    CHECK(n == BIG);
    OK(MPI_Get_elements_c(&status, MPI_INT, &n));
    CHECK(n == BIG);
    OK(MPI_Get_count(&status, MPI_INT, &small));
    CHECK(small == MPI_UNDEFINED);
}

static void wrong(void)
{
    MPI_Datatype type;
    FAILS(MPI_ERR_COUNT, MPI_Type_contiguous_c(-1, MPI_INT, &type));
    FAILS(MPI_ERR_COUNT, MPI_Bcast_c(&rank, -1, MPI_INT, 0, MPI_COMM_SELF));
    FAILS(MPI_ERR_COUNT, MPI_Send_c(&rank, -1, MPI_INT, 0, 0, MPI_COMM_SELF));
}

int main(void)
{
    begin();
    sizes();
    elements();
    wrong();
    return finish();
}
