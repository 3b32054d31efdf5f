/* What ends a program: errors nobody handles, calls at the wrong time, MPI_Abort. Each happens in a child, a job of its
 * own, whose exit status and last words are looked at.
 * ranks: 1 */
#include "check.h"
#include <sys/wait.h>
#include <unistd.h>

static void unhandled(void)
{
    int n = 0;
    MPI_Init(NULL, NULL);
    MPI_Send(&n, 1, MPI_INT, 99, 0, MPI_COMM_WORLD);
}

static void null_comm(void)
{
    MPI_Init(NULL, NULL);
    MPI_Barrier(MPI_COMM_NULL);
}

static void too_early(void)
{
    int n;
    MPI_Comm_rank(MPI_COMM_WORLD, &n);
}

static void too_late(void)
{
    int n;
    MPI_Init(NULL, NULL);
    MPI_Finalize();
    MPI_Comm_size(MPI_COMM_WORLD, &n);
}

static void twice(void)
{
    MPI_Init(NULL, NULL);
    MPI_Finalize();
    MPI_Finalize();
}

static void aborts(void)
{
    MPI_Init(NULL, NULL);
    MPI_Abort(MPI_COMM_WORLD, 9);
}

static void in_wait(void)
{
    char room[1], data[4] = {0};
    MPI_Request request[1];
    MPI_Init(NULL, NULL);
    MPI_Irecv(room, 1, MPI_CHAR, 0, 0, MPI_COMM_SELF, request);
    MPI_Send(data, 4, MPI_CHAR, 0, 0, MPI_COMM_SELF);
    MPI_Waitall(1, request, MPI_STATUSES_IGNORE);
}

static const struct {
    void (*run)(void);
    int status; /* 0: any but success */
    const char *words[3];
} cases[] = {
    {unhandled, MPI_ERR_RANK, {"rank 0: ", "MPI_Send", "99"}},
    {null_comm, MPI_ERR_COMM, {"MPI_Barrier", "MPI_COMM_NULL", ""}},
    {too_early, 0, {"MPI_Comm_rank", "before MPI_Init", ""}},
    {too_late, 0, {"MPI_Comm_size", "after MPI_Finalize", ""}},
    {twice, 0, {"MPI_Finalize", "after MPI_Finalize", ""}},
    {aborts, 9, {"MPI_Abort", "code 9", ""}},
    {in_wait, MPI_ERR_TRUNCATE, {"MPI_Waitall", "MPI_ERR_TRUNCATE", ""}},
};

int main(void)
{
    for (unsigned i = 0; i < sizeof cases / sizeof *cases; i++) {
        int ends[2], status = 0;
        char text[4096];
        size_t length = 0;
        CHECK(pipe(ends) == 0);
        pid_t child = fork();
        if (child == 0) {
            /* Not a rank of this job. */
            unsetenv("PHALANX_UNIVERSE");
            unsetenv("PHALANX_WORLD");
            unsetenv("PMI_FD");
            unsetenv("PMI_RANK");
            unsetenv("PMI_SIZE");
            dup2(ends[1], STDERR_FILENO);
            cases[i].run();
            _exit(0);
        }
        close(ends[1]);
        for (ssize_t got; length < sizeof text - 1 && (got = read(ends[0], text + length, sizeof text - 1 - length)) > 0;)
            length += (size_t)got;
        text[length] = 0;
        close(ends[0]);
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) != 0);
        CHECK(cases[i].status == 0 || WEXITSTATUS(status) == cases[i].status);
        CHECK(strncmp(text, "phalanx: ", 9) == 0);
        for (int word = 0; word < 3; word++)
            if (!strstr(text, cases[i].words[word])) {
                CHECK(!"the message says what happened");
                fprintf(stderr, "case %u: no '%s' in: %s\n", i, cases[i].words[word], text);
            }
    }
    begin();
    return finish();
}
