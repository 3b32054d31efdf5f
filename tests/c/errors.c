/* Error codes, classes and texts; handlers of the program; info objects; sessions; topologies.
 * ranks: 1 2 3 4 */
#include "check.h"

static int seen, times;
static MPI_Comm where;

static void handler(MPI_Comm *comm, int *code, ...)
{
    where = *comm;
    seen = *code;
    times++;
}

static void codes(void)
{
    int class, code, back, length, *last, flag;
    char text[MPI_MAX_ERROR_STRING];
    OK(MPI_Error_string(MPI_ERR_TRUNCATE, text, &length));
    CHECK(strstr(text, "MPI_ERR_TRUNCATE") && length == (int)strlen(text));
    OK(MPI_Error_class(MPI_SUCCESS, &class));
    CHECK(class == MPI_SUCCESS);
    FAILS(MPI_ERR_ARG, MPI_Error_class(MPI_ERR_LASTCODE - 1, &class));
    OK(MPI_Add_error_class(&class));
    CHECK(class > MPI_ERR_LASTCODE);
    OK(MPI_Add_error_code(class, &code));
    OK(MPI_Add_error_string(code, "out of cheese"));
    OK(MPI_Error_string(code, text, &length));
    CHECK(strcmp(text, "out of cheese") == 0);
    OK(MPI_Error_class(code, &back));
    CHECK(back == class);
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_LASTUSEDCODE, &last, &flag));
    CHECK(flag && *last == code);
    FAILS(MPI_ERR_ARG, MPI_Add_error_string(MPI_ERR_TYPE, "mine"));
    /* The text of an error says what happened. */
    code = MPI_Send(&class, 1, MPI_INT, 1234, 0, MPI_COMM_WORLD);
    OK(MPI_Error_string(code, text, &length));
    CHECK(strstr(text, "MPI_Send") && strstr(text, "1234"));
}

static void handlers(void)
{
    MPI_Comm comm;
    MPI_Errhandler mine, got;
    int code, calls_before;
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    OK(MPI_Comm_create_errhandler(handler, &mine));
    OK(MPI_Comm_set_errhandler(comm, mine));
    OK(MPI_Comm_get_errhandler(comm, &got));
    CHECK(got == mine);
    OK(MPI_Errhandler_free(&got));
    CHECK(got == MPI_ERRHANDLER_NULL);
    /* Errors of no communicator, or of a handle that is of none, are MPI_COMM_SELF's. */
    OK(MPI_Comm_get_errhandler(MPI_COMM_SELF, &got));
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, mine));
    MPI_Comm none[] = {MPI_COMM_NULL, (MPI_Comm)4, (MPI_Comm)0xdeadbeef};
    for (int i = 0; i < 3; i++) {
        where = MPI_COMM_NULL;
        code = MPI_Comm_test_inter(none[i], &code);
        CHECK(class_of(code) == MPI_ERR_COMM && seen == code && where == MPI_COMM_SELF);
    }
    OK(MPI_Comm_set_errhandler(MPI_COMM_SELF, got));
    times = 0;
    OK(MPI_Errhandler_free(&mine));
    code = MPI_Send(NULL, 0, MPI_INT, 99, 0, comm);
    CHECK(times == 1 && seen == code && where == comm && class_of(code) == MPI_ERR_RANK);
    OK(MPI_Comm_call_errhandler(comm, MPI_ERR_OTHER));
    CHECK(times == 2 && seen == MPI_ERR_OTHER);
    /* Errors of requests go to the handler of their communicator. */
    char room[1], data[4] = {0};
    MPI_Request request;
    OK(MPI_Irecv(room, 1, MPI_CHAR, rank, 0, comm, &request));
    OK(MPI_Send(data, 4, MPI_CHAR, rank, 0, comm));
    calls_before = times;
    FAILS(MPI_ERR_TRUNCATE, MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(times == calls_before + 1 && request == MPI_REQUEST_NULL);
    OK(MPI_Comm_get_errhandler(comm, &got));
    OK(MPI_Comm_set_errhandler(comm, MPI_ERRORS_RETURN));
    OK(MPI_Comm_set_errhandler(comm, got));
    OK(MPI_Errhandler_free(&got));
    OK(MPI_Comm_free(&comm));
    OK(MPI_Comm_get_errhandler(MPI_COMM_WORLD, &got));
    CHECK(got == MPI_ERRORS_RETURN);
    OK(MPI_Errhandler_free(&got));
}

static void info(void)
{
    MPI_Info one, two;
    char key[MPI_MAX_INFO_KEY], value[MPI_MAX_INFO_VAL], longest[MPI_MAX_INFO_KEY + 1];
    int n, flag, length;
    OK(MPI_Info_create(&one));
    OK(MPI_Info_set(one, "color", "blue"));
    OK(MPI_Info_set(one, "size", "12"));
    OK(MPI_Info_set(one, "color", "green"));
    OK(MPI_Info_get_nkeys(one, &n));
    CHECK(n == 2);
    OK(MPI_Info_get_nthkey(one, 1, key));
    CHECK(strcmp(key, "size") == 0);
    OK(MPI_Info_get_valuelen(one, "color", &length, &flag));
    CHECK(flag && length == 5);
    length = sizeof value;
    OK(MPI_Info_get_string(one, "color", &length, value, &flag));
    CHECK(flag && length == 6 && strcmp(value, "green") == 0);
    length = 3;
    OK(MPI_Info_get_string(one, "color", &length, value, &flag));
    CHECK(flag && length == 6 && strcmp(value, "gr") == 0);
    length = 0;
    OK(MPI_Info_get_string(one, "color", &length, NULL, &flag));
    CHECK(flag && length == 6);
    OK(MPI_Info_get(one, "color", 2, value, &flag));
    CHECK(flag && strcmp(value, "gr") == 0);
    OK(MPI_Info_get(one, "none", 2, value, &flag));
    CHECK(!flag);
    OK(MPI_Info_dup(one, &two));
    OK(MPI_Info_delete(one, "color"));
    FAILS(MPI_ERR_INFO_NOKEY, MPI_Info_delete(one, "color"));
    OK(MPI_Info_get_nkeys(two, &n));
    CHECK(n == 2);
    memset(longest, 'k', sizeof longest);
    longest[MPI_MAX_INFO_KEY] = 0;
    FAILS(MPI_ERR_INFO_KEY, MPI_Info_set(one, longest, "x"));
    FAILS(MPI_ERR_INFO_KEY, MPI_Info_set(one, "", "x"));
    FAILS(MPI_ERR_ARG, MPI_Info_get_nthkey(one, 7, key));
    OK(MPI_Info_free(&one));
    OK(MPI_Info_free(&two));
    OK(MPI_Info_get_nkeys(MPI_INFO_ENV, &n));
    CHECK(n > 0);
    FAILS(MPI_ERR_INFO, MPI_Info_free(&(MPI_Info){MPI_INFO_ENV}));
}

static void sessions(void)
{
    MPI_Session session;
    MPI_Group group;
    MPI_Comm comm;
    char name[MPI_MAX_PSET_NAME_LEN];
    int n, length = 0;
    OK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session));
    OK(MPI_Session_get_num_psets(session, MPI_INFO_NULL, &n));
    CHECK(n >= 2);
    OK(MPI_Session_get_nth_pset(session, MPI_INFO_NULL, 0, &length, NULL));
    CHECK(length == (int)sizeof "mpi://WORLD");
    OK(MPI_Session_get_nth_pset(session, MPI_INFO_NULL, 0, &length, name));
    CHECK(strcmp(name, "mpi://WORLD") == 0);
    FAILS(MPI_ERR_ARG, MPI_Group_from_session_pset(session, "mpi://NOWHERE", &group));
    OK(MPI_Group_from_session_pset(session, name, &group));
    OK(MPI_Comm_create_from_group(group, "test", MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm));
    OK(MPI_Group_free(&group));
    n = 1;
    OK(MPI_Allreduce(MPI_IN_PLACE, &n, 1, MPI_INT, MPI_SUM, comm));
    CHECK(n == size);
    OK(MPI_Comm_disconnect(&comm));
    OK(MPI_Session_finalize(&session));
    CHECK(session == MPI_SESSION_NULL);
}

static void topologies(void)
{
    MPI_Comm grid, row, dup, ring;
    int dims[2] = {0, 0}, periods[2] = {1, 0}, coords[2], kind, from, to, r, n, keep[2] = {0, 1};
    OK(MPI_Topo_test(MPI_COMM_WORLD, &kind));
    CHECK(kind == MPI_UNDEFINED);
    OK(MPI_Dims_create(size, 2, dims));
    CHECK(dims[0] * dims[1] == size && dims[0] >= dims[1]);
    OK(MPI_Cart_create(MPI_COMM_WORLD, 2, dims, periods, 0, &grid));
    OK(MPI_Comm_dup(grid, &dup));
    OK(MPI_Topo_test(dup, &kind));
    CHECK(kind == MPI_CART);
    OK(MPI_Comm_free(&dup));
    OK(MPI_Cart_coords(grid, rank, 2, coords));
    OK(MPI_Cart_rank(grid, coords, &r));
    CHECK(r == rank);
    OK(MPI_Cart_shift(grid, 0, 1, &from, &to));
    OK(MPI_Sendrecv(&rank, 1, MPI_INT, to, 0, &r, 1, MPI_INT, from, 0, grid, MPI_STATUS_IGNORE));
    CHECK(r == from);
    OK(MPI_Cart_shift(grid, 1, 1, &from, &to));
    CHECK(coords[1] > 0 || from == MPI_PROC_NULL);
    CHECK(coords[1] < dims[1] - 1 || to == MPI_PROC_NULL);
    OK(MPI_Cart_sub(grid, keep, &row));
    OK(MPI_Comm_size(row, &n));
    CHECK(n == dims[1]);
    OK(MPI_Comm_free(&row));
    OK(MPI_Comm_free(&grid));
    dims[0] = size + 1;
    FAILS(MPI_ERR_DIMS, MPI_Cart_create(MPI_COMM_WORLD, 1, dims, periods, 0, &grid));
    FAILS(MPI_ERR_TOPOLOGY, MPI_Cart_coords(MPI_COMM_WORLD, 0, 2, coords));
    int next = (rank + 1) % size, one = 1, in, out, weighted, source, destination, w1, w2;
    OK(MPI_Dist_graph_create(MPI_COMM_WORLD, 1, &rank, &one, &next, &next, MPI_INFO_NULL, 0, &ring));
    OK(MPI_Dist_graph_neighbors_count(ring, &in, &out, &weighted));
    CHECK(in == 1 && out == 1 && weighted);
    OK(MPI_Dist_graph_neighbors(ring, 1, &source, &w1, 1, &destination, &w2));
    CHECK(source == (rank + size - 1) % size && destination == next && w1 == rank && w2 == next);
    OK(MPI_Comm_free(&ring));
}

int main(void)
{
    begin();
    codes();
    handlers();
    info();
    sessions();
    topologies();
    return finish();
}
