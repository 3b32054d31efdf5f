/* Processes that processes start: the program starts itself, talks to its children and lets go of them.
 * ranks: 1 2 3 */
#include "check.h"

static int child(MPI_Comm parent, int argc, char **argv)
{
    int remote, sum = 0, code = 0;
    char name[MPI_MAX_OBJECT_NAME];
    MPI_Comm_remote_size(parent, &remote);
    MPI_Comm_get_name(parent, name, &code);
    if (argc != 3 || strcmp(argv[1], "two words") != 0 || strcmp(argv[2], "3") != 0)
        return 1;
    MPI_Bcast(&code, 1, MPI_INT, 0, parent);
    code += rank;
    MPI_Reduce(&code, NULL, 1, MPI_INT, MPI_SUM, 0, parent);
    MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD);
    if (sum != size * (size - 1) / 2)
        return 1;
    MPI_Comm_disconnect(&parent);
    MPI_Finalize();
    return 0;
}

int main(int argc, char **argv)
{
    MPI_Comm parent, children;
    int errors[2] = {7, 7}, remote, code = 5, sum = 0;
    char *arguments[] = {"two words", "3", NULL};
    begin();
    OK(MPI_Comm_get_parent(&parent));
    if (parent != MPI_COMM_NULL)
        return child(parent, argc, argv);
    OK(MPI_Comm_spawn(argv[0], arguments, 2, MPI_INFO_NULL, 0, MPI_COMM_WORLD, &children, errors));
    CHECK(errors[0] == MPI_SUCCESS && errors[1] == MPI_SUCCESS);
    OK(MPI_Comm_remote_size(children, &remote));
    CHECK(remote == 2);
    OK(MPI_Bcast(&code, 1, MPI_INT, rank == 0 ? MPI_ROOT : MPI_PROC_NULL, children));
    OK(MPI_Reduce(NULL, &sum, 1, MPI_INT, MPI_SUM, rank == 0 ? MPI_ROOT : MPI_PROC_NULL, children));
    CHECK(rank != 0 || sum == 11);
    OK(MPI_Comm_disconnect(&children));
    CHECK(children == MPI_COMM_NULL);
    /* What cannot be started is an error everywhere, and the job goes on. */
    FAILS(MPI_ERR_SPAWN, MPI_Comm_spawn("/no/such/program", MPI_ARGV_NULL, 1, MPI_INFO_NULL, 0, MPI_COMM_WORLD,
                                        &children, MPI_ERRCODES_IGNORE));
    return finish();
}
