/* Datatypes by constructors that the other programs do not use, and what is told of them.
 * ranks: 1 2 */
#include "check.h"

/* The same bytes, sent with one type and received as bytes in the order of the map. */
static void picks(MPI_Datatype type, const int *expected, int count)
{
    int from[16], got[16], bytes = 0;
    for (int i = 0; i < 16; i++) {
        from[i] = i;
        got[i] = -1;
    }
    OK(MPI_Type_commit(&type));
    OK(MPI_Type_size(type, &bytes));
    CHECK(bytes == count * (int)sizeof(int));
    OK(MPI_Sendrecv(from, 1, type, 0, 0, got, 16, MPI_INT, 0, 0, MPI_COMM_SELF, MPI_STATUS_IGNORE));
    CHECK(memcmp(got, expected, (size_t)count * sizeof(int)) == 0);
    CHECK(got[count] == -1);
    OK(MPI_Type_free(&type));
}

static void maps(void)
{
    MPI_Datatype type;
    const int lengths[2] = {2, 1}, places[2] = {5, 0};
    const MPI_Aint bytes[2] = {3 * sizeof(int), 0};
    OK(MPI_Type_create_hvector(3, 2, 4 * sizeof(int), MPI_INT, &type));
    picks(type, (int[]){0, 1, 4, 5, 8, 9}, 6);
    OK(MPI_Type_indexed(2, lengths, places, MPI_INT, &type));
    picks(type, (int[]){5, 6, 0}, 3);
    OK(MPI_Type_create_indexed_block(2, 2, places, MPI_INT, &type));
    picks(type, (int[]){5, 6, 0, 1}, 4);
    OK(MPI_Type_create_hindexed_block(2, 2, bytes, MPI_INT, &type));
    picks(type, (int[]){3, 4, 0, 1}, 4);
    FAILS(MPI_ERR_COUNT, MPI_Type_create_hvector(-1, 1, 4, MPI_INT, &type));
    FAILS(MPI_ERR_ARG, MPI_Type_create_indexed_block(2, -2, places, MPI_INT, &type));
    FAILS(MPI_ERR_TYPE, MPI_Type_create_hindexed_block(2, 2, bytes, MPI_DATATYPE_NULL, &type));
    FAILS(MPI_ERR_TYPE, MPI_Type_indexed(2, lengths, places, MPI_DATATYPE_NULL, &type));
}

static void told(void)
{
    MPI_Datatype type, wide;
    MPI_Aint low = -1, extent = -1;
    MPI_Count size_x = -1, low_x = -1, extent_x = -1, elements = -1;
    MPI_Status status;
    const int lengths[1] = {2}, places[1] = {3};
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

/* Types found by what they must hold. */
static void found(void)
{
    MPI_Datatype type = MPI_DATATYPE_NULL;
    int bytes = 0;
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
    maps();
    told();
    found();
    statuses();
    some();
    return finish();
}
