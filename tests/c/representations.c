/* Data representations of the program: in both widths, with functions that fail, and wrong arguments.
 * ranks: 1 2 3 8 */
#include "check.h"
#include <unistd.h>

enum { N = 5000 };

static int state = 7, calls;

/* An int takes eight bytes in the file, the least significant one first. */
static int eight(MPI_Datatype type, MPI_Aint *extent, void *extra)
{
    int bytes = 0;
    if (extra != &state) return MPI_ERR_INTERN;
    MPI_Type_size(type, &bytes);
    *extent = 2 * bytes;
    return MPI_SUCCESS;
}

static void to_file(const int *values, unsigned char *to, long count, MPI_Datatype type)
{
    MPI_Aint lb, extent;
    MPI_Type_get_extent(type, &lb, &extent);
    for (long i = 0; i < count; i++) {
        unsigned value = (unsigned)values[i * extent / (MPI_Aint)sizeof(int)];
        for (int b = 0; b < 8; b++) to[8 * i + b] = (unsigned char)(b < 4 ? value >> 8 * b : 0);
    }
}

static void from_file(int *values, const unsigned char *from, long count, MPI_Datatype type)
{
    MPI_Aint lb, extent;
    MPI_Type_get_extent(type, &lb, &extent);
    for (long i = 0; i < count; i++) {
        unsigned value = 0;
        for (int b = 0; b < 4; b++) value |= (unsigned)from[8 * i + b] << 8 * b;
        values[i * extent / (MPI_Aint)sizeof(int)] = (int)value;
    }
}

static int reads(void *user, MPI_Datatype type, int count, void *in_file, MPI_Offset position, void *extra)
{
    calls++;
    from_file((int *)user + position, in_file, count, type);
    return extra == &state ? MPI_SUCCESS : MPI_ERR_INTERN;
}

static int writes(void *user, MPI_Datatype type, int count, void *in_file, MPI_Offset position, void *extra)
{
    calls++;
    to_file((int *)user + position, in_file, count, type);
    return extra == &state ? MPI_SUCCESS : MPI_ERR_INTERN;
}

static int reads_c(void *user, MPI_Datatype type, MPI_Count count, void *in_file, MPI_Offset position, void *extra)
{
    return reads(user, type, (int)count, in_file, position, extra);
}

static int writes_c(void *user, MPI_Datatype type, MPI_Count count, void *in_file, MPI_Offset position, void *extra)
{
    return writes(user, type, (int)count, in_file, position, extra);
}

static int fails(void *user, MPI_Datatype type, int count, void *in_file, MPI_Offset position, void *extra)
{
    (void)user, (void)type, (void)count, (void)in_file, (void)position, (void)extra;
    return MPI_ERR_OTHER;
}

static int nothing(MPI_Datatype type, MPI_Aint *extent, void *extra)
{
    (void)type, (void)extra;
    *extent = 0;
    return MPI_SUCCESS;
}

static int no_extent(MPI_Datatype type, MPI_Aint *extent, void *extra)
{
    (void)type, (void)extent, (void)extra;
    return MPI_ERR_OTHER;
}

static void converts(MPI_File file, const char *name)
{
    static int values[N], back[2 * N];
    char found[MPI_MAX_DATAREP_STRING];
    unsigned char bytes[8];
    MPI_Offset at;
    MPI_Aint extent;
    MPI_Datatype one, two, spread;
    MPI_Status status;
    int count;
    calls = 0;
    for (int i = 0; i < N; i++) values[i] = 1000 * rank + i - 3;
    OK(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, name, MPI_INFO_NULL));
    OK(MPI_File_get_view(file, &at, &one, &two, found));
    CHECK(strcmp(found, name) == 0);
    OK(MPI_File_get_type_extent(file, MPI_INT, &extent));
    CHECK(extent == 8);
    OK(MPI_File_write_at_all(file, (MPI_Offset)rank * N, values, N, MPI_INT, &status));
    OK(MPI_Get_count(&status, MPI_INT, &count));
    CHECK(count == N && calls > 0);
    OK(MPI_File_sync(file));
    OK(MPI_File_get_size(file, &at));
    CHECK(at >= (MPI_Offset)8 * N * size);
    /* Up to the end of the file, into every second int. */
    OK(MPI_Type_create_resized(MPI_INT, 0, 2 * sizeof(int), &spread));
    OK(MPI_Type_commit(&spread));
    for (int i = 0; i < 2 * N; i++) back[i] = -77;
    OK(MPI_File_read_at(file, (MPI_Offset)rank * N + 1, back, N - 1, spread, &status));
    OK(MPI_Get_count(&status, spread, &count));
    CHECK(count == N - 1 && back[0] == values[1] && back[1] == -77 && back[2 * (N - 2)] == values[N - 1]);
    OK(MPI_File_read_at(file, (MPI_Offset)size * N - 2, back, 9, MPI_INT, &status));
    OK(MPI_Get_count(&status, MPI_INT, &count));
    CHECK(count == 2);
    OK(MPI_Type_free(&spread));
    OK(MPI_File_set_view(file, 0, MPI_BYTE, MPI_BYTE, "native", MPI_INFO_NULL));
    OK(MPI_File_read_at(file, (MPI_Offset)8 * (rank * N + 3), bytes, 8, MPI_BYTE, &status));
    CHECK(bytes[0] == (unsigned char)(1000 * rank) && bytes[1] == (unsigned char)(1000 * rank >> 8) && bytes[7] == 0);
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

int main(void)
{
    char path[256], longest[MPI_MAX_DATAREP_STRING + 1];
    int number = (int)getpid(), one = 1;
    MPI_File file;
    MPI_Status status;
    begin();
    MPI_Bcast(&number, 1, MPI_INT, 0, MPI_COMM_WORLD);
    snprintf(path, sizeof path, "/tmp/phalanx-representations-%d", number);
    OK(MPI_File_open(MPI_COMM_WORLD, path, MPI_MODE_RDWR | MPI_MODE_CREATE | MPI_MODE_DELETE_ON_CLOSE,
                     MPI_INFO_NULL, &file));

    OK(MPI_Register_datarep("eight", reads, writes, eight, &state));
    OK(MPI_Register_datarep_c("large eight", reads_c, writes_c, eight, &state));
    OK(MPI_Register_datarep("as it is", MPI_CONVERSION_FN_NULL, MPI_CONVERSION_FN_NULL, eight, &state));
    OK(MPI_Register_datarep("fails", fails, fails, eight, &state));
    OK(MPI_Register_datarep("empty", reads, writes, nothing, &state));
    OK(MPI_Register_datarep("no extent", reads, writes, no_extent, &state));
    converts(file, "eight");
    converts(file, "large eight");

    const struct {
        const char *name;
        int class;
    } views[] = {
        {"empty", MPI_ERR_CONVERSION},
        {"no extent", MPI_ERR_CONVERSION},
        {"eigh", MPI_ERR_UNSUPPORTED_DATAREP},
        {"", MPI_ERR_UNSUPPORTED_DATAREP},
    };
    for (size_t i = 0; i < sizeof views / sizeof *views; i++)
        FAILS(views[i].class, MPI_File_set_view(file, 0, MPI_INT, MPI_INT, views[i].name, MPI_INFO_NULL));
    OK(MPI_File_set_view(file, 0, MPI_INT, MPI_INT, "fails", MPI_INFO_NULL));
    FAILS(MPI_ERR_CONVERSION, MPI_File_write_at(file, 0, &one, 1, MPI_INT, &status));
    FAILS(MPI_ERR_CONVERSION, MPI_File_read_at(file, 0, &one, 1, MPI_INT, &status));
    if (size > 1)
        FAILS(MPI_ERR_NOT_SAME, MPI_File_set_view(file, 0, MPI_INT, MPI_INT, rank ? "eight" : "native", MPI_INFO_NULL));

    memset(longest, 'x', sizeof longest);
    longest[MPI_MAX_DATAREP_STRING] = 0;
    FAILS(MPI_ERR_DUP_DATAREP, MPI_Register_datarep("eight", reads, writes, eight, &state));
    FAILS(MPI_ERR_DUP_DATAREP, MPI_Register_datarep("external32", reads, writes, eight, &state));
    FAILS(MPI_ERR_ARG, MPI_Register_datarep(longest, reads, writes, eight, &state));
    FAILS(MPI_ERR_ARG, MPI_Register_datarep("", reads, writes, eight, &state));
    FAILS(MPI_ERR_ARG, MPI_Register_datarep_c("another", reads_c, writes_c, NULL, &state));
    OK(MPI_File_close(&file));
    return finish();
}
