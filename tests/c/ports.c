/* Groups of a job that meet at a port, under a published name or over a socket; two programs started at once.
 * ranks: 1 2 3 8 */
#include "check.h"
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

static MPI_Comm half;

/* All ranks of both halves add theirs; each hears the others' sum. */
static void talk(MPI_Comm both)
{
    int sum = -1, expected = 0;
    OK(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, both));
    for (int r = 1 - rank % 2; r < size; r += 2) expected += r;
    CHECK(sum == expected);
}

static void meet(void)
{
    char port[MPI_MAX_PORT_NAME] = "", name[] = "phalanx-tests-ports", found[MPI_MAX_PORT_NAME] = "";
    MPI_Comm both;
    if (rank == 0) OK(MPI_Open_port(MPI_INFO_NULL, port));
    OK(MPI_Bcast(port, MPI_MAX_PORT_NAME, MPI_CHAR, 0, MPI_COMM_WORLD));
    if (rank == 0) OK(MPI_Publish_name(name, MPI_INFO_NULL, port));
    OK(MPI_Barrier(MPI_COMM_WORLD));
    OK(MPI_Lookup_name(name, MPI_INFO_NULL, found));
    CHECK(strcmp(found, port) == 0);
    if (size > 1) {
        if (rank % 2 == 0)
            OK(MPI_Comm_accept(port, MPI_INFO_NULL, 0, half, &both));
        else
            OK(MPI_Comm_connect(found, MPI_INFO_NULL, 0, half, &both));
        talk(both);
        OK(MPI_Comm_disconnect(&both));
    }
    OK(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0) {
        OK(MPI_Unpublish_name(name, MPI_INFO_NULL, port));
        FAILS(MPI_ERR_NAME, MPI_Lookup_name(name, MPI_INFO_NULL, found));
        FAILS(MPI_ERR_SERVICE, MPI_Unpublish_name(name, MPI_INFO_NULL, port));
        OK(MPI_Close_port(port));
        FAILS(MPI_ERR_PORT, MPI_Close_port(port));
        FAILS(MPI_ERR_PORT, MPI_Comm_connect("no port", MPI_INFO_NULL, 0, MPI_COMM_SELF, &both));
    }
}

/* Ranks 0 and 1 are connected by a socket, and by an intercommunicator then. */
static void join(void)
{
    int value = 40 + rank, got = -1, fd = -1;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof at;
    MPI_Comm both;
    FAILS(MPI_ERR_ARG, MPI_Comm_join(-1, &both));
    if (size < 2 || rank > 1) return;
    if (rank == 0) {
        int listener = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(bind(listener, (struct sockaddr *)&at, length) == 0 && listen(listener, 1) == 0);
        CHECK(getsockname(listener, (struct sockaddr *)&at, &length) == 0);
        OK(MPI_Send(&at, sizeof at, MPI_BYTE, 1, 0, MPI_COMM_WORLD));
        fd = accept(listener, NULL, NULL);
        close(listener);
    } else {
        OK(MPI_Recv(&at, sizeof at, MPI_BYTE, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        fd = socket(AF_INET, SOCK_STREAM, 0);
        CHECK(connect(fd, (struct sockaddr *)&at, length) == 0);
    }
    OK(MPI_Comm_join(fd, &both));
    OK(MPI_Sendrecv(&value, 1, MPI_INT, 0, 5, &got, 1, MPI_INT, 0, 5, both, MPI_STATUS_IGNORE));
    CHECK(got == 41 - rank);
    OK(MPI_Comm_disconnect(&both));
    close(fd);
}

static void children(char *program)
{
    char *commands[2] = {program, program}, *first[] = {"first", NULL}, *second[] = {"second", NULL};
    char **arguments[2] = {first, second};
    const int processes[2] = {1, 2};
    const MPI_Info infos[2] = {MPI_INFO_NULL, MPI_INFO_NULL};
    int errors[3] = {7, 7, 7}, remote = 0, sum = 0;
    MPI_Comm started;
    OK(MPI_Comm_spawn_multiple(2, commands, arguments, processes, infos, 0, MPI_COMM_WORLD, &started, errors));
    CHECK(errors[0] == MPI_SUCCESS && errors[1] == MPI_SUCCESS && errors[2] == MPI_SUCCESS);
    OK(MPI_Comm_remote_size(started, &remote));
    CHECK(remote == 3);
    OK(MPI_Reduce(NULL, &sum, 1, MPI_INT, MPI_SUM, rank == 0 ? MPI_ROOT : MPI_PROC_NULL, started));
    CHECK(rank != 0 || sum == 1 + 10 + 10);
    OK(MPI_Comm_disconnect(&started));
    FAILS(MPI_ERR_ARG, MPI_Comm_spawn_multiple(-1, commands, arguments, processes, infos, 0, MPI_COMM_SELF, &started, errors));
}

/* What was started first says 1, what was started second says 10. */
static int child(MPI_Comm parent, int argc, char **argv)
{
    int value = argc == 2 && strcmp(argv[1], "first") == 0 && rank == 0 ? 1 : 10;
    MPI_Reduce(&value, NULL, 1, MPI_INT, MPI_SUM, 0, parent);
    MPI_Comm_disconnect(&parent);
    MPI_Finalize();
    return 0;
}

int main(int argc, char **argv)
{
    MPI_Comm parent;
    begin();
    OK(MPI_Comm_get_parent(&parent));
    if (parent != MPI_COMM_NULL) return child(parent, argc, argv);
    OK(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, rank, &half));
    MPI_Comm_set_errhandler(half, MPI_ERRORS_RETURN);
    meet();
    join();
    children(argv[0]);
    OK(MPI_Comm_free(&half));
    return finish();
}
