/* Every way to read and write a file: at offsets, at own and shared positions; alone, together, in order; blocking,
 * nonblocking and split: in both widths.
 * ranks: 1 2 3 8
 * widths: int count */
#include "large.h"
#include <unistd.h>

enum { N = 6 };

static MPI_File file;
static MPI_Status status;
static MPI_Request request;
static int data[N], want[N];

static MPI_Offset mine(void) { return (MPI_Offset)rank * N; }

/* What this rank writes in one access, or nothing yet. */
static void fill(int round)
{
    for (int i = 0; i < N; i++) {
        want[i] = 1000 * round + 10 * rank + i;
        data[i] = want[i];
    }
}

static void moved(void)
{
    count_t count = -1;
    OK(MPI_Get_count(&status, MPI_INT, &count));
    CHECK(count == N);
}

/* All have written before anybody looks. */
static void settle(void)
{
    OK(MPI_File_sync(file));
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

static void seek(void) { OK(MPI_File_seek(file, mine(), MPI_SEEK_SET)); }

static void seek_shared(void)
{
    settle();
    OK(MPI_File_seek_shared(file, 0, MPI_SEEK_SET));
}

#define BUFFER data, N, MPI_INT

/* Writes, and finds it there; reads it, and has it. */
#define TRY(round, before, write, read)                                                      \
    do {                                                                                     \
        fill(round);                                                                         \
        before();                                                                            \
        OK(write);                                                                           \
        moved();                                                                             \
        settle();                                                                            \
        memset(data, -1, sizeof data);                                                       \
        before();                                                                            \
        OK(read);                                                                            \
        moved();                                                                             \
        CHECK(memcmp(data, want, sizeof data) == 0);                                         \
        settle();                                                                            \
    } while (0)

#define WAITED(call) ((call) || MPI_Wait(&request, &status))

static void anywhere(void) {}

static void at_offsets(void)
{
    TRY(1, anywhere, MPI_File_write_at(file, mine(), BUFFER, &status), MPI_File_read_at(file, mine(), BUFFER, &status));
    TRY(2, anywhere, MPI_File_write_at_all(file, mine(), BUFFER, &status),
        MPI_File_read_at_all(file, mine(), BUFFER, &status));
    TRY(3, anywhere, WAITED(MPI_File_iwrite_at(file, mine(), BUFFER, &request)),
        WAITED(MPI_File_iread_at(file, mine(), BUFFER, &request)));
    TRY(4, anywhere, WAITED(MPI_File_iwrite_at_all(file, mine(), BUFFER, &request)),
        WAITED(MPI_File_iread_at_all(file, mine(), BUFFER, &request)));
    TRY(5, anywhere, MPI_File_write_at_all_begin(file, mine(), BUFFER) || MPI_File_write_at_all_end(file, data, &status),
        MPI_File_read_at_all_begin(file, mine(), BUFFER) || MPI_File_read_at_all_end(file, data, &status));
}

static void at_own_positions(void)
{
    TRY(1, seek, MPI_File_write(file, BUFFER, &status), MPI_File_read(file, BUFFER, &status));
    TRY(2, seek, MPI_File_write_all(file, BUFFER, &status), MPI_File_read_all(file, BUFFER, &status));
    TRY(3, seek, WAITED(MPI_File_iwrite(file, BUFFER, &request)), WAITED(MPI_File_iread(file, BUFFER, &request)));
    TRY(4, seek, WAITED(MPI_File_iwrite_all(file, BUFFER, &request)), WAITED(MPI_File_iread_all(file, BUFFER, &request)));
    TRY(5, seek, MPI_File_write_all_begin(file, BUFFER) || MPI_File_write_all_end(file, data, &status),
        MPI_File_read_all_begin(file, BUFFER) || MPI_File_read_all_end(file, data, &status));
}

static void in_order(void)
{
    TRY(1, seek_shared, MPI_File_write_ordered(file, BUFFER, &status), MPI_File_read_ordered(file, BUFFER, &status));
    TRY(2, seek_shared, MPI_File_write_ordered_begin(file, BUFFER) || MPI_File_write_ordered_end(file, data, &status),
        MPI_File_read_ordered_begin(file, BUFFER) || MPI_File_read_ordered_end(file, data, &status));
}

/* At the shared position in any order: every block is somebody's, and everybody's is there. */
static void whole_blocks(void)
{
    int all[8 * N], seen = 0;
    settle();
    OK(MPI_File_read_at(file, 0, all, N * size, MPI_INT, &status));
    for (int block = 0; block < size; block++) {
        int whose = (all[block * N] % 1000) / 10;
        CHECK(whose >= 0 && whose < size);
        seen |= 1 << whose;
        for (int i = 1; i < N; i++) CHECK(all[block * N + i] == all[block * N] + i);
    }
    CHECK(seen == (1 << size) - 1);
    settle();
}

static void at_the_shared_position(void)
{
    fill(6);
    seek_shared();
    OK(MPI_File_write_shared(file, BUFFER, &status));
    moved();
    whole_blocks();
    fill(7);
    seek_shared();
    OK(WAITED(MPI_File_iwrite_shared(file, BUFFER, &request)));
    moved();
    whole_blocks();
    seek_shared();
    OK(MPI_File_read_shared(file, BUFFER, &status));
    moved();
    CHECK(data[0] / 1000 == 7 && data[N - 1] == data[0] + N - 1);
    seek_shared();
    OK(WAITED(MPI_File_iread_shared(file, BUFFER, &request)));
    moved();
    CHECK(data[0] / 1000 == 7 && data[N - 1] == data[0] + N - 1);
}

static void wrong(void)
{
    FAILS(MPI_ERR_COUNT, MPI_File_write_at(file, 0, data, -1, MPI_INT, &status));
    FAILS(MPI_ERR_COUNT, MPI_File_read(file, data, -1, MPI_INT, &status));
    FAILS(MPI_ERR_COUNT, MPI_File_iwrite_shared(file, data, -1, MPI_INT, &request));
    FAILS(MPI_ERR_COUNT, MPI_File_iread_at(file, 0, data, -1, MPI_INT, &request));
    FAILS(MPI_ERR_FILE, MPI_File_read_shared(MPI_FILE_NULL, BUFFER, &status));
}

int main(void)
{
    char path[64];
    begin();
    int number = (int)getpid();
    MPI_Bcast(&number, 1, MPI_INT, 0, MPI_COMM_WORLD);
    snprintf(path, sizeof path, "/tmp/phalanx-accesses-%d", number);
    OK(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE, MPI_INFO_NULL,
                     &file));
    OK(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "native", MPI_INFO_NULL));
    at_offsets();
    at_own_positions();
    in_order();
    at_the_shared_position();
    wrong();
    OK(MPI_File_close(&file));
    return finish();
}
