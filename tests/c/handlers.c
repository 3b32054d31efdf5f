/* Error handlers of windows and sessions, and classes that are taken back.
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

int main(void)
{
    begin();
    of_window();
    of_session();
    classes();
    return finish();
}
