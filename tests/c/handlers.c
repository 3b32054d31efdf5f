/* Error handlers of windows and sessions, classes that are taken back, attributes under their old names, hints of
 * communicators, groups by ranges.
 * ranks: 1 2 3 8 */
#include "check.h"

static int heard, heard_code;

static void on_win(MPI_Win *win, int *code, ...)
{
    CHECK(*win != MPI_WIN_NULL);
    heard++;
    heard_code = *code;
}

static void on_session(MPI_Session *session, int *code, ...)
{
    CHECK(*session != MPI_SESSION_NULL);
    heard++;
    heard_code = *code;
}

static void of_window(void)
{
    int memory = 0;
    MPI_Win win;
    MPI_Errhandler handler, found;
    OK(MPI_Win_create(&memory, sizeof memory, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    OK(MPI_Win_create_errhandler(on_win, &handler));
    OK(MPI_Win_set_errhandler(win, handler));
    OK(MPI_Win_get_errhandler(win, &found));
    CHECK(found == handler);
    heard = 0;
    OK(MPI_Win_call_errhandler(win, MPI_ERR_RMA_RANGE));
    CHECK(heard == 1 && heard_code == MPI_ERR_RMA_RANGE);
    OK(MPI_Errhandler_free(&found));
    OK(MPI_Errhandler_free(&handler));
    OK(MPI_Win_free(&win));
    FAILS(MPI_ERR_WIN, MPI_Win_call_errhandler(MPI_WIN_NULL, MPI_ERR_RMA_RANGE));
}

static void of_session(void)
{
    MPI_Session session;
    MPI_Errhandler handler, found;
    MPI_Info info;
    int flag = 0, length = 16;
    char value[16];
    OK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session));
    OK(MPI_Session_create_errhandler(on_session, &handler));
    OK(MPI_Session_set_errhandler(session, handler));
    OK(MPI_Session_get_errhandler(session, &found));
    CHECK(found == handler);
    heard = 0;
    OK(MPI_Session_call_errhandler(session, MPI_ERR_OTHER));
    CHECK(heard == 1 && heard_code == MPI_ERR_OTHER);
    OK(MPI_Errhandler_free(&found));
    OK(MPI_Errhandler_free(&handler));
    OK(MPI_Session_get_info(session, &info));
    OK(MPI_Info_free(&info));
    OK(MPI_Session_get_pset_info(session, "mpi://WORLD", &info));
    OK(MPI_Info_get_string(info, "mpi_size", &length, value, &flag));
    CHECK(flag && atoi(value) == size);
    OK(MPI_Info_free(&info));
    OK(MPI_Session_finalize(&session));
    FAILS(MPI_ERR_SESSION, MPI_Session_call_errhandler(MPI_SESSION_NULL, MPI_ERR_OTHER));
}

/* What was added is taken back, the last first; what is predefined stays. */
static void classes(void)
{
    int class = -1, code = -1, length;
    char text[MPI_MAX_ERROR_STRING];
    OK(MPI_Add_error_class(&class));
    OK(MPI_Add_error_code(class, &code));
    OK(MPI_Add_error_string(code, "of this program"));
    OK(MPI_Error_string(code, text, &length));
    CHECK(strcmp(text, "of this program") == 0);
    OK(MPI_Remove_error_string(code));
    OK(MPI_Error_string(code, text, &length));
    CHECK(strcmp(text, "of this program") != 0);
    OK(MPI_Remove_error_code(code));
    OK(MPI_Remove_error_class(class));
    CHECK(MPI_Remove_error_class(MPI_ERR_COMM) != MPI_SUCCESS);
    CHECK(MPI_Remove_error_code(MPI_ERR_COMM) != MPI_SUCCESS);
}

static int deletions;

static int deleted(MPI_Comm comm, int keyval, void *value, void *extra)
{
    CHECK(comm != MPI_COMM_NULL && keyval != MPI_KEYVAL_INVALID && extra == &deletions);
    deletions += *(int *)value;
    return MPI_SUCCESS;
}

static int deleted_of_win(MPI_Win win, int keyval, void *value, void *extra)
{
    CHECK(win != MPI_WIN_NULL && keyval != MPI_KEYVAL_INVALID && extra == &deletions);
    deletions += *(int *)value;
    return MPI_SUCCESS;
}

static void old_names(void)
{
    int key = MPI_KEYVAL_INVALID, seven = 7, flag = 0, *found = NULL;
    MPI_Comm comm;
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    OK(MPI_Keyval_create(MPI_COMM_NULL_COPY_FN, deleted, &key, &deletions));
    OK(MPI_Attr_put(comm, key, &seven));
    OK(MPI_Attr_get(comm, key, &found, &flag));
    CHECK(flag && found == &seven);
    deletions = 0;
    OK(MPI_Attr_delete(comm, key));
    CHECK(deletions == 7);
    OK(MPI_Attr_get(comm, key, &found, &flag));
    CHECK(!flag);
    OK(MPI_Keyval_free(&key));
    CHECK(key == MPI_KEYVAL_INVALID);
    OK(MPI_Comm_free(&comm));
}

static void of_windows(void)
{
    int key = MPI_KEYVAL_INVALID, nine = 9, flag = 0, *found = NULL;
    MPI_Win win;
    OK(MPI_Win_create(&nine, sizeof nine, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    OK(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN));
    OK(MPI_Win_create_keyval(MPI_WIN_NULL_COPY_FN, deleted_of_win, &key, &deletions));
    OK(MPI_Win_set_attr(win, key, &nine));
    OK(MPI_Win_get_attr(win, key, &found, &flag));
    CHECK(flag && found == &nine);
    deletions = 0;
    OK(MPI_Win_delete_attr(win, key));
    CHECK(deletions == 9);
    OK(MPI_Win_free_keyval(&key));
    FAILS(MPI_ERR_KEYVAL, MPI_Win_set_attr(win, MPI_WIN_BASE, &nine));
    OK(MPI_Win_free(&win));
}

static void hints(void)
{
    MPI_Info info, back;
    MPI_Comm comm, later;
    MPI_Request request;
    MPI_Group remote;
    int flag = 0, length = 16;
    char value[16];
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "mpi_assert_no_any_tag", "true"));
    OK(MPI_Comm_dup_with_info(MPI_COMM_WORLD, info, &comm));
    OK(MPI_Comm_get_info(comm, &back));
    OK(MPI_Info_get_string(back, "mpi_assert_no_any_tag", &length, value, &flag));
    CHECK(flag && strcmp(value, "true") == 0);
    OK(MPI_Info_free(&back));
    OK(MPI_Comm_idup_with_info(comm, info, &later, &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    OK(MPI_Barrier(later));
    OK(MPI_Comm_set_info(later, MPI_INFO_NULL));
    FAILS(MPI_ERR_COMM, MPI_Comm_set_info(MPI_COMM_NULL, info));
    FAILS(MPI_ERR_COMM, MPI_Comm_remote_group(MPI_COMM_WORLD, &remote));
    OK(MPI_Comm_free(&later));
    OK(MPI_Comm_free(&comm));
    OK(MPI_Info_free(&info));
}

/* The even and the odd ranks, as two groups of an intercommunicator. */
static void two_groups(void)
{
    MPI_Group world, mine, theirs, remote;
    MPI_Comm both;
    int n = -1, sum = -1;
    if (size < 2) return;
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    int even[1][3] = {{0, size - 1, 2}};
    OK(MPI_Group_range_incl(world, 1, even, rank % 2 == 0 ? &mine : &theirs));
    OK(MPI_Group_range_excl(world, 1, even, rank % 2 == 0 ? &theirs : &mine));
    OK(MPI_Group_size(theirs, &n));
    CHECK(n == (rank % 2 == 0 ? size / 2 : (size + 1) / 2));
    OK(MPI_Intercomm_create_from_groups(mine, 0, theirs, 0, "even and odd", MPI_INFO_NULL, MPI_ERRORS_RETURN, &both));
    OK(MPI_Comm_remote_group(both, &remote));
    OK(MPI_Group_compare(remote, theirs, &n));
    CHECK(n == MPI_IDENT);
    OK(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, both));
    int expected = 0;
    for (int r = 1 - rank % 2; r < size; r += 2) expected += r;
    CHECK(sum == expected);
    int wrong[1][3] = {{0, size, 1}};
    MPI_Group none;
    FAILS(MPI_ERR_RANK, MPI_Group_range_excl(world, 1, wrong, &none));
    OK(MPI_Comm_free(&both));
    OK(MPI_Group_free(&remote));
    OK(MPI_Group_free(&mine));
    OK(MPI_Group_free(&theirs));
    OK(MPI_Group_free(&world));
}

int main(void)
{
    begin();
    of_window();
    of_session();
    classes();
    old_names();
    of_windows();
    hints();
    two_groups();
    return finish();
}
