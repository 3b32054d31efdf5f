/* Start, end, versions, clocks, names, memory, the binary interface.
 * ranks: 1 2 3 */
#include "check.h"

static int order[4], deleted;

static int note(MPI_Comm comm, int keyval, void *value, void *extra)
{
    int flag = 0;
    CHECK(comm == MPI_COMM_SELF);
    CHECK(keyval != MPI_KEYVAL_INVALID);
    MPI_Finalized(&flag);
    CHECK(!flag);
    CHECK(extra == &deleted);
    order[deleted++] = (int)(MPI_Aint)value;
    return MPI_SUCCESS;
}

/* A wild number of arguments is an error, and nothing is read. */
static void wild_arguments(void)
{
    MPI_Info info = MPI_INFO_NULL;
    char *arguments[1];
    memset(arguments, 1, sizeof arguments);
    FAILS(MPI_ERR_ARG, MPI_Info_create_env(-1, arguments, &info));
    FAILS(MPI_ERR_ARG, MPI_Info_create_env(-2147483647 - 1, arguments, &info));
    CHECK(info == MPI_INFO_NULL);
}

int main(void)
{
    int flag = 1, version, subversion, length, level;
    char text[MPI_MAX_LIBRARY_VERSION_STRING];
    OK(MPI_Initialized(&flag));
    CHECK(!flag);
    OK(MPI_Finalized(&flag));
    CHECK(!flag);
    OK(MPI_Get_version(&version, &subversion));
    CHECK(version == MPI_VERSION && subversion == MPI_SUBVERSION);
    OK(MPI_Get_library_version(text, &length));
    CHECK(length == (int)strlen(text) && strncmp(text, "Phalanx ", 8) == 0);
    OK(MPI_Abi_get_version(&version, &subversion));
    CHECK(version == MPI_ABI_VERSION && subversion == MPI_ABI_SUBVERSION);
    MPI_Info early;
    OK(MPI_Info_create(&early));
    OK(MPI_Info_free(&early));

    begin();
    OK(MPI_Initialized(&flag));
    CHECK(flag);
    wild_arguments();
    OK(MPI_Query_thread(&level));
    CHECK(level == MPI_THREAD_MULTIPLE);
    OK(MPI_Is_thread_main(&flag));
    CHECK(flag);
    OK(MPI_Get_processor_name(text, &length));
    CHECK(length > 0 && length == (int)strlen(text) && length < MPI_MAX_PROCESSOR_NAME);
    double before = MPI_Wtime(), after;
    while ((after = MPI_Wtime()) <= before)
        ;
    CHECK(MPI_Wtick() > 0 && MPI_Wtick() < 1);
    CHECK(PMPI_Wtime() >= after);

    char *memory = NULL;
    OK(MPI_Alloc_mem(1 << 20, MPI_INFO_NULL, &memory));
    CHECK(memory != NULL);
    memset(memory, 1, 1 << 20);
    OK(MPI_Free_mem(memory));
    OK(MPI_Alloc_mem(0, MPI_INFO_NULL, &memory));
    OK(MPI_Free_mem(memory));
    OK(MPI_Free_mem(NULL));

    int *value = NULL;
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &value, &flag));
    CHECK(flag && *value >= 32767);
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_WTIME_IS_GLOBAL, &value, &flag));
    CHECK(flag && *value == 1);
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_UNIVERSE_SIZE, &value, &flag));
    CHECK(!flag || *value >= size);
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_LASTUSEDCODE, &value, &flag));
    CHECK(flag && *value >= MPI_ERR_LASTCODE);
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_HOST, &value, &flag));
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_IO, &value, &flag));
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_set_attr(MPI_COMM_WORLD, MPI_TAG_UB, value));

    CHECK(MPI_Comm_toint(MPI_COMM_WORLD) == 257 && MPI_Comm_fromint(258) == MPI_COMM_SELF);
    CHECK(MPI_Type_fromint(MPI_Type_toint(MPI_INT)) == MPI_INT);
    CHECK(MPI_Aint_add(40, 2) == 42 && MPI_Aint_diff(40, 2) == 38);
    MPI_Comm dup;
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &dup));
    CHECK(MPI_Comm_fromint(MPI_Comm_toint(dup)) == dup && MPI_Comm_toint(dup) > 0);
    OK(MPI_Comm_free(&dup));

    /* Attributes of MPI_COMM_SELF are deleted at finalisation, the last first. */
    int key;
    for (int i = 0; i < 3; i++) {
        OK(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, note, &key, &deleted));
        OK(MPI_Comm_set_attr(MPI_COMM_SELF, key, (void *)(MPI_Aint)(i + 1)));
        OK(MPI_Comm_free_keyval(&key));
        CHECK(key == MPI_KEYVAL_INVALID);
    }
    int status = finish();
    OK(MPI_Finalized(&flag));
    CHECK(flag);
    CHECK(deleted == 3 && order[0] == 3 && order[1] == 2 && order[2] == 1);
    OK(MPI_Get_library_version(text, &length));
    return status || failures;
}
