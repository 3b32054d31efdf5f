/* Files: modes, errors, positions, views, collective, shared, ordered, nonblocking and split accesses, representations.
 * ranks: 1 2 3 8 */
#include "check.h"
#include <unistd.h>

enum { N = 64 };

static char path[256];
static MPI_File file;

static void reopen(void)
{
    OK(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE,
                     MPI_INFO_NULL, &file));
}

/* A status says how many elements were moved. */
static int count_of(MPI_Status *status)
{
    int count = -1;
    MPI_Get_count(status, MPI_INT, &count);
    return count;
}

static void opening(void)
{
    struct {
        const char *name;
        int mode, class;
    } rows[] = {
        {"/tmp/no-such-directory/x", MPI_MODE_RDWR | MPI_MODE_CREATE, MPI_ERR_NO_SUCH_FILE},
        {"/tmp", MPI_MODE_RDONLY, MPI_ERR_BAD_FILE},
        {"", MPI_MODE_RDONLY, MPI_ERR_BAD_FILE},
        {path, MPI_MODE_RDONLY, MPI_ERR_NO_SUCH_FILE},
        {path, 0, MPI_ERR_AMODE},
        {path, MPI_MODE_RDONLY | MPI_MODE_WRONLY, MPI_ERR_AMODE},
        {path, MPI_MODE_RDONLY | MPI_MODE_CREATE, MPI_ERR_AMODE},
        {path, MPI_MODE_RDWR | MPI_MODE_SEQUENTIAL, MPI_ERR_AMODE},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        FAILS(rows[i].class, MPI_File_open(MPI_COMM_WORLD, rows[i].name, rows[i].mode, MPI_INFO_NULL, &file));
    if (size > 1)
        FAILS(MPI_ERR_NOT_SAME, MPI_File_open(MPI_COMM_WORLD, path, rank ? MPI_MODE_RDONLY : MPI_MODE_WRONLY,
                                              MPI_INFO_NULL, &file));
    FAILS(MPI_ERR_COMM, MPI_File_open(MPI_COMM_NULL, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &file));
    FAILS(MPI_ERR_NO_SUCH_FILE, MPI_File_delete(path, MPI_INFO_NULL));
    FAILS(MPI_ERR_BAD_FILE, MPI_File_delete("/tmp", MPI_INFO_NULL));
    file = MPI_FILE_NULL;
    FAILS(MPI_ERR_FILE, MPI_File_close(&file));

    int amode, members;
    MPI_Group group;
    MPI_Info info, used;
    char value[32];
    int flag, length = sizeof value;
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "access_style", "random"));
    int mode = MPI_MODE_WRONLY | MPI_MODE_CREATE | MPI_MODE_EXCL;
    OK(MPI_File_open(MPI_COMM_WORLD, path, mode, info, &file));
    OK(MPI_File_get_amode(file, &amode));
    OK(MPI_File_get_group(file, &group));
    OK(MPI_Group_size(group, &members));
    OK(MPI_Group_free(&group));
    CHECK(amode == mode && members == size);
    OK(MPI_File_get_info(file, &used));
    OK(MPI_Info_get_string(used, "access_style", &length, value, &flag));
    CHECK(flag && !strcmp(value, "random"));
    OK(MPI_Info_free(&used));
    OK(MPI_File_set_info(file, info));
    OK(MPI_Info_free(&info));
    int data = 1;
    FAILS(MPI_ERR_ACCESS, MPI_File_read_at(file, 0, &data, 1, MPI_INT, MPI_STATUS_IGNORE));
    OK(MPI_File_close(&file));
    CHECK(file == MPI_FILE_NULL);
    FAILS(MPI_ERR_FILE_EXISTS, MPI_File_open(MPI_COMM_WORLD, path, mode, MPI_INFO_NULL, &file));
    OK(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_RDONLY, MPI_INFO_NULL, &file));
    FAILS(MPI_ERR_READ_ONLY, MPI_File_write_at(file, 0, &data, 1, MPI_INT, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_READ_ONLY, MPI_File_set_size(file, 10));
    OK(MPI_File_close(&file));
    OK(MPI_Barrier(MPI_COMM_WORLD));
    if (rank == 0)
        OK(MPI_File_delete(path, MPI_INFO_NULL));
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

static void sizes_and_positions(void)
{
    MPI_Offset at;
    MPI_Count extent;
    int flag;
    reopen();
    OK(MPI_File_set_size(file, 100));
    OK(MPI_File_get_size(file, &at));
    CHECK(at == 100);
    OK(MPI_File_preallocate(file, 200));
    OK(MPI_File_get_size(file, &at));
    CHECK(at == 200);
    FAILS(MPI_ERR_ARG, MPI_File_set_size(file, -1));
    if (size > 1)
        FAILS(MPI_ERR_NOT_SAME, MPI_File_set_size(file, rank ? 10 : 20));
    OK(MPI_File_set_view(file, 40, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    struct {
        MPI_Offset offset;
        int whence;
        MPI_Offset position;
    } rows[] = {{5, MPI_SEEK_SET, 5}, {2, MPI_SEEK_CUR, 7}, {-3, MPI_SEEK_CUR, 4}, {0, MPI_SEEK_END, 40}, {-1, MPI_SEEK_END, 39}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        OK(MPI_File_seek(file, rows[i].offset, rows[i].whence));
        OK(MPI_File_get_position(file, &at));
        CHECK(at == rows[i].position);
        if (rows[i].whence != MPI_SEEK_CUR) {
            OK(MPI_File_seek_shared(file, rows[i].offset, rows[i].whence));
            OK(MPI_File_get_position_shared(file, &at));
            CHECK(at == rows[i].position);
        }
    }
    FAILS(MPI_ERR_ARG, MPI_File_seek(file, -1, MPI_SEEK_SET));
    FAILS(MPI_ERR_ARG, MPI_File_seek(file, 0, 12345));
    OK(MPI_File_get_byte_offset(file, 3, &at));
    CHECK(at == 52);
    OK(MPI_File_get_type_extent_c(file, MPI_DOUBLE, &extent));
    CHECK(extent == 8);
    OK(MPI_File_set_atomicity(file, 1));
    OK(MPI_File_get_atomicity(file, &flag));
    CHECK(flag == 1);
    int value = rank;
    OK(MPI_File_write_at(file, rank, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
    OK(MPI_File_read_at(file, rank, &value, 1, MPI_INT, MPI_STATUS_IGNORE));
    CHECK(value == rank);
    OK(MPI_File_set_atomicity(file, 0));
    OK(MPI_File_sync(file));
    MPI_Datatype etype, filetype;
    char name[MPI_MAX_DATAREP_STRING];
    OK(MPI_File_get_view(file, &at, &etype, &filetype, name));
    CHECK(at == 40 && etype == MPI_INT && filetype == MPI_INT && !strcmp(name, "native"));
    FAILS(MPI_ERR_UNSUPPORTED_DATAREP, MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "nothing", MPI_INFO_NULL));
    FAILS(MPI_ERR_ARG, MPI_File_set_view(file, -5, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    FAILS(MPI_ERR_TYPE, MPI_File_set_view(file, 0, MPI_INT, MPI_CHAR, "native", MPI_INFO_NULL));
    OK(MPI_File_close(&file));
}

/* Each form of an access at each kind of place: what all ranks write in turn, all read back. */
static void accesses(void)
{
    for (int form = 0; form < 12; form++) {
        int mine[N], back[N];
        MPI_Datatype block, filetype;
        MPI_Request request;
        MPI_Status status;
        for (int i = 0; i < N; i++)
            mine[i] = form * 100000 + rank * 1000 + i;
        memset(back, -1, sizeof back);
        reopen();
        OK(MPI_Type_contiguous(4, MPI_INT, &block));
        OK(MPI_Type_create_resized(block, 0, 16 * size, &filetype));
        OK(MPI_Type_commit(&filetype));
        if (form < 8)
            OK(MPI_File_set_view(file, 16 * rank, MPI_INT, filetype, "native", MPI_INFO_NULL));
        OK(MPI_Type_free(&filetype));
        OK(MPI_Type_free(&block));
        switch (form) {
        case 0:
            OK(MPI_File_write_at(file, 0, mine, N, MPI_INT, &status));
            OK(MPI_File_sync(file));
            OK(MPI_File_read_at(file, 0, back, N, MPI_INT, &status));
            break;
        case 1:
            OK(MPI_File_write(file, mine, N, MPI_INT, &status));
            OK(MPI_File_seek(file, 0, MPI_SEEK_SET));
            OK(MPI_File_read(file, back, N, MPI_INT, &status));
            break;
        case 2:
            OK(MPI_File_write_at_all(file, 0, mine, N, MPI_INT, &status));
            OK(MPI_File_read_at_all_c(file, 0, back, N, MPI_INT, &status));
            break;
        case 3:
            OK(MPI_File_write_all_c(file, mine, N, MPI_INT, &status));
            OK(MPI_File_seek(file, 0, MPI_SEEK_SET));
            OK(MPI_File_read_all(file, back, N, MPI_INT, &status));
            break;
        case 4:
            OK(MPI_File_iwrite_at(file, 0, mine, N, MPI_INT, &request));
            OK(MPI_Wait(&request, &status));
            CHECK(count_of(&status) == N);
            OK(MPI_File_iread_at(file, 0, back, N, MPI_INT, &request));
            OK(MPI_Wait(&request, &status));
            break;
        case 5:
            OK(MPI_File_iwrite_all(file, mine, N, MPI_INT, &request));
            OK(MPI_Wait(&request, &status));
            OK(MPI_File_iread_at_all(file, 0, back, N, MPI_INT, &request));
            OK(MPI_Wait(&request, &status));
            break;
        case 6:
            OK(MPI_File_write_all_begin(file, mine, N, MPI_INT));
            FAILS(MPI_ERR_OTHER, MPI_File_write_all_begin(file, mine, N, MPI_INT));
            FAILS(MPI_ERR_OTHER, MPI_File_read_all_end(file, mine, &status));
            FAILS(MPI_ERR_OTHER, MPI_File_write_all_end(file, back, &status));
            OK(MPI_File_write_all_end(file, mine, &status));
            FAILS(MPI_ERR_OTHER, MPI_File_write_all_end(file, mine, &status));
            OK(MPI_File_read_at_all_begin(file, 0, back, N, MPI_INT));
            OK(MPI_File_read_at_all_end(file, back, &status));
            break;
        case 7:
            OK(MPI_File_write_at_all_begin(file, 0, mine, N, MPI_INT));
            OK(MPI_File_write_at_all_end(file, mine, &status));
            OK(MPI_File_seek(file, 0, MPI_SEEK_SET));
            OK(MPI_File_read_all_begin(file, back, N, MPI_INT));
            OK(MPI_File_read_all_end(file, back, &status));
            break;
        case 8:
            OK(MPI_File_write_ordered(file, mine, N, MPI_INT, &status));
            OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
            OK(MPI_File_read_ordered(file, back, N, MPI_INT, &status));
            break;
        case 9:
            OK(MPI_File_write_ordered_begin(file, mine, N, MPI_INT));
            OK(MPI_File_write_ordered_end(file, mine, &status));
            OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
            OK(MPI_File_read_ordered_begin(file, back, N, MPI_INT));
            OK(MPI_File_read_ordered_end(file, back, &status));
            break;
        default: {
            /* Whole blocks are somewhere, and each is read once: the first numbers of all add up. */
            int own, all, expected = 0;
            if (form == 10) {
                OK(MPI_File_write_shared(file, mine, N, MPI_INT, &status));
            } else {
                OK(MPI_File_iwrite_shared(file, mine, N, MPI_INT, &request));
                OK(MPI_Wait(&request, &status));
            }
            OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
            if (form == 10) {
                OK(MPI_File_read_shared(file, back, N, MPI_INT, &status));
            } else {
                OK(MPI_File_iread_shared(file, back, N, MPI_INT, &request));
                OK(MPI_Wait(&request, &status));
            }
            own = back[0];
            for (int i = 0; i < size; i++)
                expected += form * 100000 + i * 1000;
            OK(MPI_Allreduce(&own, &all, 1, MPI_INT, MPI_SUM, MPI_COMM_WORLD));
            CHECK(all == expected && back[N - 1] == back[0] + N - 1);
            memcpy(back, mine, sizeof back);
        }
        }
        CHECK(count_of(&status) == N);
        CHECK(!memcmp(mine, back, sizeof mine));
        /* At the end of the file a status counts what there was. */
        OK(MPI_File_sync(file));
        OK(MPI_File_read_at(file, form < 8 ? N - 1 : 4 * (size * N - 1), back, N, MPI_INT, &status));
        CHECK(count_of(&status) == 1);
        OK(MPI_File_close(&file));
    }
}

static void wrong_arguments(void)
{
    int data[2] = {0, 0};
    MPI_Datatype loose;
    reopen();
    FAILS(MPI_ERR_ARG, MPI_File_write_at(file, -1, data, 1, MPI_INT, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_COUNT, MPI_File_write_at(file, 0, data, -1, MPI_INT, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_TYPE, MPI_File_write_at(file, 0, data, 1, MPI_DATATYPE_NULL, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_BUFFER, MPI_File_write_at(file, 0, NULL, 1, MPI_INT, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_BUFFER, MPI_File_read_at(file, 0, MPI_IN_PLACE, 1, MPI_INT, MPI_STATUS_IGNORE));
    FAILS(MPI_ERR_FILE, MPI_File_write_at(MPI_FILE_NULL, 0, data, 1, MPI_INT, MPI_STATUS_IGNORE));
    OK(MPI_Type_contiguous(2, MPI_INT, &loose));
    FAILS(MPI_ERR_TYPE, MPI_File_write_at(file, 0, data, 1, loose, MPI_STATUS_IGNORE));
    OK(MPI_Type_free(&loose));
    OK(MPI_File_set_view(file, 0, MPI_DOUBLE, MPI_DOUBLE, "native", MPI_INFO_NULL));
    FAILS(MPI_ERR_TYPE, MPI_File_write_at(file, 0, data, 1, MPI_INT, MPI_STATUS_IGNORE));
    OK(MPI_File_close(&file));
    if (access("/dev/full", W_OK) == 0) {
        OK(MPI_File_open(MPI_COMM_WORLD, "/dev/full", MPI_MODE_WRONLY, MPI_INFO_NULL, &file));
        FAILS(MPI_ERR_NO_SPACE, MPI_File_write(file, data, 1, MPI_INT, MPI_STATUS_IGNORE));
        OK(MPI_File_close(&file));
    }
}

static int called;

static void handler(MPI_File *where, int *code, ...)
{
    called += class_of(*code) == MPI_ERR_ARG && *where == file;
}

static void handlers(void)
{
    MPI_Errhandler mine, found;
    reopen();
    OK(MPI_File_create_errhandler(handler, &mine));
    OK(MPI_File_set_errhandler(file, mine));
    OK(MPI_File_get_errhandler(file, &found));
    CHECK(found == mine);
    OK(MPI_Errhandler_free(&found));
    OK(MPI_Errhandler_free(&mine));
    FAILS(MPI_ERR_ARG, MPI_File_seek(file, -1, MPI_SEEK_SET));
    OK(MPI_File_call_errhandler(file, MPI_ERR_ARG));
    CHECK(called == 2);
    OK(MPI_File_close(&file));
}

static void portable(void)
{
    unsigned char bytes[4];
    long values[2] = {258 + rank, -1}, back[2] = {0, 0};
    MPI_Status status;
    int count;
    reopen();
    OK(MPI_File_set_view(file, 0, MPI_LONG, MPI_LONG, "external32", MPI_INFO_NULL));
    OK(MPI_File_write_at_all(file, 2 * rank, values, 2, MPI_LONG, &status));
    OK(MPI_File_sync(file));
    OK(MPI_File_read_at(file, 2 * rank, back, 2, MPI_LONG, &status));
    OK(MPI_Get_count(&status, MPI_LONG, &count));
    CHECK(count == 2 && back[0] == values[0] && back[1] == -1);
    OK(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    OK(MPI_File_read_at(file, 8 * rank, bytes, 4, MPI_BYTE, &status));
    CHECK(bytes[0] == 0 && bytes[1] == 0 && bytes[2] == 1 && bytes[3] == 2 + rank);
    OK(MPI_File_close(&file));
}

int main(void)
{
    begin();
    int number = (int)getpid();
    MPI_Bcast(&number, 1, MPI_INT, 0, MPI_COMM_WORLD);
    snprintf(path, sizeof path, "/tmp/phalanx-files-%d", number);
    opening();
    sizes_and_positions();
    accesses();
    wrong_arguments();
    handlers();
    portable();
    return finish();
}
