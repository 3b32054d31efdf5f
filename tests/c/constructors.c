/* Datatypes by constructors that the other programs do not use, and what is told of them.
 * ranks: 1 2
 * widths: int count */
#include "large.h"

/* The same bytes, sent with one type and received as bytes in the order of the map. */
static void picks(MPI_Datatype type, const int *expected, int count)
{
    int from[16], got[16];
    count_t bytes = 0;
    for (int i = 0; i < 16; i++) {
        from[i] = i;
        got[i] = -1;
    }
    OK(MPI_Type_commit(&type));
    OK(MPI_Type_size(type, &bytes));
    CHECK(bytes == count * (count_t)sizeof(int));
    OK(MPI_Sendrecv(from, 1, type, 0, 0, got, 16, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE));
    CHECK(memcmp(got, expected, (size_t)count * sizeof(int)) == 0);
    CHECK(got[count] == -1);
    OK(MPI_Type_free(&type));
}

static void maps(void)
{
    MPI_Datatype type;
    const count_t lengths[2] = {2, 1}, places[2] = {5, 0}, whole[2] = {4, 4}, part[2] = {2, 2}, corner[2] = {1, 1};
    const ext_t bytes[2] = {3 * sizeof(int), 0};
    const MPI_Datatype types[2] = {MPI_INT, MPI_INT};
    const int spread[1] = {MPI_DISTRIBUTE_CYCLIC}, usual[1] = {MPI_DISTRIBUTE_DFLT_DARG}, two[1] = {2};
    const count_t six[1] = {6};
    OK(MPI_Type_create_hvector(3, 2, 4 * sizeof(int), MPI_INT, &type));
    picks(type, (int[]){0, 1, 4, 5, 8, 9}, 6);
    OK(MPI_Type_indexed(2, lengths, places, MPI_INT, &type));
    picks(type, (int[]){5, 6, 0}, 3);
    OK(MPI_Type_create_indexed_block(2, 2, places, MPI_INT, &type));
    picks(type, (int[]){5, 6, 0, 1}, 4);
    OK(MPI_Type_create_hindexed_block(2, 2, bytes, MPI_INT, &type));
    picks(type, (int[]){3, 4, 0, 1}, 4);
    OK(MPI_Type_create_hindexed(2, lengths, bytes, MPI_INT, &type));
    picks(type, (int[]){3, 4, 0}, 3);
    OK(MPI_Type_create_struct(2, lengths, bytes, types, &type));
    picks(type, (int[]){3, 4, 0}, 3);
    OK(MPI_Type_create_subarray(2, whole, part, corner, MPI_ORDER_C, MPI_INT, &type));
    picks(type, (int[]){5, 6, 9, 10}, 4);
    OK(MPI_Type_create_darray(2, 1, 1, six, spread, usual, two, MPI_ORDER_C, MPI_INT, &type));
    picks(type, (int[]){1, 3, 5}, 3);
    FAILS(MPI_ERR_COUNT, MPI_Type_create_hvector(-1, 1, 4, MPI_INT, &type));
    FAILS(MPI_ERR_ARG, MPI_Type_create_indexed_block(2, -2, places, MPI_INT, &type));
    FAILS(MPI_ERR_TYPE, MPI_Type_create_hindexed_block(2, 2, bytes, MPI_DATATYPE_NULL, &type));
    FAILS(MPI_ERR_TYPE, MPI_Type_indexed(2, lengths, places, MPI_DATATYPE_NULL, &type));
}

static void told(void)
{
    MPI_Datatype type, wide;
    ext_t low = -1, extent = -1;
    MPI_Count size_x = -1, low_x = -1, extent_x = -1, elements = -1;
    MPI_Status status;
    const count_t lengths[1] = {2}, places[1] = {3};
    OK(MPI_Type_indexed(1, lengths, places, MPI_INT, &type));
    OK(MPI_Type_create_resized(type, -4, 64, &wide));
    OK(MPI_Type_get_true_extent(wide, &low, &extent));
    CHECK(low == 12 && extent == 8);
    OK(MPI_Type_get_true_extent_x(wide, &low_x, &extent_x));
    CHECK(low_x == 12 && extent_x == 8);
    OK(MPI_Type_get_extent_x(wide, &low_x, &extent_x));
    CHECK(low_x == -4 && extent_x == 64);
    OK(MPI_Type_size_x(wide, &size_x));
    CHECK(size_x == 8);
    memset(&status, 0, sizeof status);
    OK(MPI_Status_set_elements_x(&status, MPI_INT, 7));
    OK(MPI_Get_elements_x(&status, MPI_INT, &elements));
    CHECK(elements == 7);
    OK(MPI_Type_free(&wide));
    OK(MPI_Type_free(&type));
    FAILS(MPI_ERR_TYPE, MPI_Type_size_x(MPI_DATATYPE_NULL, &size_x));
}

/* What a type was made of: in the large width, counts of their own beside integers and addresses. */
static void contents(void)
{
    MPI_Datatype type, of;
    MPI_Aint addresses[2] = {-1, -1};
    int numbers[5] = {-1, -1, -1, -1, -1};
    const count_t lengths[2] = {2, 1}, places[2] = {5, 0};
    OK(MPI_Type_indexed(2, lengths, places, MPI_INT, &type));
#ifdef COUNTS
    MPI_Count counts[5] = {-1, -1, -1, -1, -1}, integers, places_of, large, types;
    int combiner;
    OK(MPI_Type_get_envelope_c(type, &integers, &places_of, &large, &types, &combiner));
    CHECK(integers == 0 && places_of == 0 && large == 5 && types == 1 && combiner == MPI_COMBINER_INDEXED);
    OK(MPI_Type_get_contents_c(type, 0, 0, 5, 1, numbers, addresses, counts, &of));
    CHECK(counts[0] == 2 && counts[1] == 2 && counts[2] == 1 && counts[3] == 5 && counts[4] == 0);
#else
    OK(MPI_Type_get_contents(type, 5, 0, 1, numbers, addresses, &of));
    CHECK(numbers[0] == 2 && numbers[1] == 2 && numbers[2] == 1 && numbers[3] == 5 && numbers[4] == 0);
#endif
    CHECK(of == MPI_INT);
    OK(MPI_Type_free(&type));
}

/* Types found by what they must hold. */
static void found(void)
{
    MPI_Datatype type = MPI_DATATYPE_NULL;
    count_t bytes = 0;
    OK(MPI_Type_match_size(MPI_TYPECLASS_REAL, 8, &type));
    OK(MPI_Type_size(type, &bytes));
    CHECK(bytes == 8);
    OK(MPI_Type_match_size(MPI_TYPECLASS_INTEGER, 2, &type));
    OK(MPI_Type_size(type, &bytes));
    CHECK(bytes == 2);
    FAILS(MPI_ERR_ARG, MPI_Type_match_size(MPI_TYPECLASS_REAL, 3, &type));
    OK(MPI_Type_create_f90_integer(9, &type));
    OK(MPI_Type_size(type, &bytes));
    CHECK(bytes == 4);
    OK(MPI_Type_create_f90_real(15, MPI_UNDEFINED, &type));
    OK(MPI_Type_size(type, &bytes));
    CHECK(bytes == 8);
    OK(MPI_Type_create_f90_complex(6, MPI_UNDEFINED, &type));
    OK(MPI_Type_size(type, &bytes));
    CHECK(bytes == 8);
    FAILS(MPI_ERR_ARG, MPI_Type_create_f90_integer(100, &type));
    OK(MPI_Type_get_value_index(MPI_DOUBLE, MPI_INT, &type));
    CHECK(type == MPI_DOUBLE_INT);
    OK(MPI_Type_get_value_index(MPI_INT, MPI_INT, &type));
    CHECK(type == MPI_2INT);
}

int main(void)
{
    begin();
    maps();
    told();
    contents();
    found();
    return finish();
}
