/* Buffered sends: the process's buffer, a communicator's and a session's.
 * ranks: 1 2 3 8 */
#include "check.h"

enum { ROOM = 4096 };

static int next_of(void) { return (rank + 1) % size; }
static int before(void) { return (rank + size - 1) % size; }

/* One buffered message goes around; the buffer is empty when it has been flushed. */
static void around(MPI_Comm comm)
{
    int value = 100 + rank, got = -1;
    OK(MPI_Bsend(&value, 1, MPI_INT, next_of(), 7, comm));
    OK(MPI_Recv(&got, 1, MPI_INT, before(), 7, comm, MPI_STATUS_IGNORE));
    CHECK(got == 100 + before());
}

static void of_process(void)
{
    char *room = malloc(ROOM), *back = NULL;
    int bytes = -1;
    MPI_Request request;
    OK(MPI_Buffer_attach(room, ROOM));
    around(MPI_COMM_WORLD);
    OK(MPI_Buffer_flush());
    around(MPI_COMM_WORLD);
    OK(MPI_Buffer_iflush(&request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_BUFFER, MPI_Buffer_attach(room, ROOM));
    OK(MPI_Buffer_detach(&back, &bytes));
    CHECK(back == room && bytes == ROOM);
    free(room);
}

static void of_communicator(void)
{
    char *room = malloc(ROOM), *back = NULL;
    int bytes = -1;
    MPI_Count count = -1;
    MPI_Request request;
    MPI_Comm comm;
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    OK(MPI_Comm_attach_buffer(comm, room, ROOM));
    around(comm);
    OK(MPI_Comm_flush_buffer(comm));
    around(comm);
    OK(MPI_Comm_iflush_buffer(comm, &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_BUFFER, MPI_Comm_attach_buffer(comm, room, ROOM));
    OK(MPI_Comm_detach_buffer(comm, &back, &bytes));
    CHECK(back == room && bytes == ROOM);
    OK(MPI_Comm_attach_buffer_c(comm, room, ROOM));
    OK(MPI_Comm_detach_buffer_c(comm, &back, &count));
    CHECK(back == room && count == ROOM);
    FAILS(MPI_ERR_COMM, MPI_Comm_attach_buffer(MPI_COMM_NULL, room, ROOM));
    FAILS(MPI_ERR_COMM, MPI_Comm_flush_buffer(MPI_COMM_NULL));
    OK(MPI_Comm_free(&comm));
    free(room);
}

/* Communicators that come from a session use its buffer, also those made from them; no others do. */
static void of_session(void)
{
    char *room = malloc(ROOM), *back = NULL;
    int bytes = -1, value = 1;
    MPI_Count count = -1;
    MPI_Request request;
    MPI_Session session;
    MPI_Group group, part;
    MPI_Comm comm, again;
    OK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session));
    OK(MPI_Group_from_session_pset(session, "mpi://WORLD", &group));
    OK(MPI_Group_excl(group, 0, NULL, &part));
    OK(MPI_Comm_create_from_group(part, "buffers", MPI_INFO_NULL, MPI_ERRORS_RETURN, &comm));
    OK(MPI_Comm_split(comm, 0, rank, &again));
    FAILS(MPI_ERR_BUFFER, MPI_Bsend(&value, 1, MPI_INT, rank, 0, comm));
    OK(MPI_Session_attach_buffer(session, room, ROOM));
    FAILS(MPI_ERR_BUFFER, MPI_Session_attach_buffer(session, room, ROOM));
    around(comm);
    OK(MPI_Session_flush_buffer(session));
    around(again);
    OK(MPI_Session_iflush_buffer(session, &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_BUFFER, MPI_Bsend(&value, 1, MPI_INT, rank, 0, MPI_COMM_WORLD));
    OK(MPI_Session_detach_buffer(session, &back, &bytes));
    CHECK(back == room && bytes == ROOM);
    FAILS(MPI_ERR_BUFFER, MPI_Session_detach_buffer(session, &back, &bytes));
    FAILS(MPI_ERR_BUFFER, MPI_Bsend(&value, 1, MPI_INT, rank, 0, again));
    OK(MPI_Session_attach_buffer_c(session, room, ROOM));
    OK(MPI_Session_detach_buffer_c(session, &back, &count));
    CHECK(back == room && count == ROOM);
    FAILS(MPI_ERR_SESSION, MPI_Session_attach_buffer(MPI_SESSION_NULL, room, ROOM));
    OK(MPI_Comm_free(&again));
    OK(MPI_Comm_free(&comm));
    OK(MPI_Group_free(&part));
    OK(MPI_Group_free(&group));
    OK(MPI_Session_finalize(&session));
    free(room);
}

int main(void)
{
    begin();
    of_process();
    of_communicator();
    of_session();
    return finish();
}
