/* Handles as integers, and what a Fortran binding tells the library.
 * ranks: 1 2 */
#include "check.h"

/* The same handle comes back, for a predefined one, the null handle and one made here. */
#define ROUND_TRIP(Kind, handle) CHECK(MPI_##Kind##_fromint(MPI_##Kind##_toint(handle)) == (handle))

static void predefined(void)
{
    ROUND_TRIP(Comm, MPI_COMM_WORLD);
    ROUND_TRIP(Comm, MPI_COMM_NULL);
    ROUND_TRIP(Errhandler, MPI_ERRORS_RETURN);
    ROUND_TRIP(File, MPI_FILE_NULL);
    ROUND_TRIP(Group, MPI_GROUP_EMPTY);
    ROUND_TRIP(Info, MPI_INFO_ENV);
    ROUND_TRIP(Message, MPI_MESSAGE_NO_PROC);
    ROUND_TRIP(Op, MPI_SUM);
    ROUND_TRIP(Request, MPI_REQUEST_NULL);
    ROUND_TRIP(Session, MPI_SESSION_NULL);
    ROUND_TRIP(Type, MPI_DOUBLE);
    ROUND_TRIP(Win, MPI_WIN_NULL);
    /* Chapter 20: the integer of a predefined handle is its value in the binary interface. */
    CHECK(MPI_Comm_toint(MPI_COMM_WORLD) == (int)(MPI_Aint)MPI_COMM_WORLD);
    CHECK(MPI_Op_toint(MPI_SUM) == (int)(MPI_Aint)MPI_SUM);
}

static void made_here(void)
{
    MPI_Info info;
    MPI_Group group;
    MPI_Comm comm;
    MPI_Request request;
    MPI_Win win;
    MPI_Session session;
    int number = -1;
    OK(MPI_Info_create(&info));
    ROUND_TRIP(Info, info);
    OK(MPI_Comm_group(MPI_COMM_WORLD, &group));
    ROUND_TRIP(Group, group);
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    OK(MPI_Comm_rank(MPI_Comm_fromint(MPI_Comm_toint(comm)), &number));
    CHECK(number == rank);
    OK(MPI_Irecv(&number, 1, MPI_INT, rank, 0, comm, &request));
    ROUND_TRIP(Request, request);
    OK(MPI_Send(&rank, 1, MPI_INT, rank, 0, comm));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    OK(MPI_Win_create(&number, sizeof number, 1, MPI_INFO_NULL, comm, &win));
    ROUND_TRIP(Win, win);
    OK(MPI_Win_free(&win));
    OK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session));
    ROUND_TRIP(Session, session);
    OK(MPI_Session_finalize(&session));
    OK(MPI_Comm_free(&comm));
    OK(MPI_Group_free(&group));
    OK(MPI_Info_free(&info));
}

/* An integer that is no handle's gives a handle that calls refuse. */
static void wild(void)
{
    int n;
    FAILS(MPI_ERR_COMM, MPI_Comm_size(MPI_Comm_fromint(0x7ffffff0), &n));
    FAILS(MPI_ERR_GROUP, MPI_Group_size(MPI_Group_fromint(-5), &n));
    FAILS(MPI_ERR_INFO, MPI_Info_get_nkeys(MPI_Info_fromint(12345), &n));
}

static void fortran(void)
{
    int yes = 1, no = 0, found_yes = -1, found_no = -1, is_set = -1, flag = 0, length = 8;
    char value[8];
    MPI_Info info;
    OK(MPI_Abi_get_fortran_booleans(sizeof yes, &found_yes, &found_no, &is_set));
    CHECK(!is_set);
    OK(MPI_Abi_set_fortran_booleans(sizeof yes, &yes, &no));
    OK(MPI_Abi_get_fortran_booleans(sizeof yes, &found_yes, &found_no, &is_set));
    CHECK(is_set && found_yes == 1 && found_no == 0);
    FAILS(MPI_ERR_ABI, MPI_Abi_set_fortran_booleans(sizeof yes, &yes, &no));
    FAILS(MPI_ERR_ARG, MPI_Abi_set_fortran_booleans(3, &yes, &no));
    FAILS(MPI_ERR_ARG, MPI_Abi_get_fortran_booleans(-1, &found_yes, &found_no, &is_set));

    OK(MPI_Abi_get_fortran_info(&info));
    CHECK(info == MPI_INFO_NULL);
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "mpi_integer_size", "4"));
    OK(MPI_Abi_set_fortran_info(info));
    FAILS(MPI_ERR_ABI, MPI_Abi_set_fortran_info(info));
    OK(MPI_Info_free(&info));
    OK(MPI_Abi_get_fortran_info(&info));
    OK(MPI_Info_get_string(info, "mpi_integer_size", &length, value, &flag));
    CHECK(flag && strcmp(value, "4") == 0);
    OK(MPI_Info_free(&info));
}

/* What the library says of itself: at least the sizes of its integers. */
static void described(void)
{
    MPI_Info info;
    int flag = 0, length = 8, keys = 0;
    char value[8];
    OK(MPI_Abi_get_info(&info));
    OK(MPI_Info_get_string(info, "mpi_aint_size", &length, value, &flag));
    CHECK(flag && atoi(value) == (int)sizeof(MPI_Aint));
    length = sizeof value;
    OK(MPI_Info_get_string(info, "mpi_count_size", &length, value, &flag));
    CHECK(flag && atoi(value) == (int)sizeof(MPI_Count));
    OK(MPI_Info_free(&info));
    OK(MPI_Get_hw_resource_info(&info));
    OK(MPI_Info_get_nkeys(info, &keys));
    CHECK(keys >= 0);
    OK(MPI_Info_free(&info));
    OK(MPI_Pcontrol(1));
}

int main(void)
{
    begin();
    predefined();
    made_here();
    wild();
    fortran();
    described();
    return finish();
}
