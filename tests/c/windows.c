/* Windows: every way to make one, every synchronization, every operation in both widths, attributes, and wrong
 * arguments.
 * ranks: 1 2 3 8 */
#include "check.h"

enum { ELEMENTS = 32, KINDS = 4 };

/* How a window is made. */
static const struct row {
    const char *name;
    int flavor, noncontiguous;
} rows[KINDS] = {
    {"create", MPI_WIN_FLAVOR_CREATE, 0},
    {"allocate", MPI_WIN_FLAVOR_ALLOCATE, 0},
    {"shared", MPI_WIN_FLAVOR_SHARED, 0},
    {"shared, apart", MPI_WIN_FLAVOR_SHARED, 1},
};

static long own[ELEMENTS], *memory;
static MPI_Win win;
static MPI_Group everybody;

static int next(void) { return (rank + 1) % size; }
static int previous(void) { return (rank + size - 1) % size; }
static long value(int of, int i) { return 1000L * of + i; }

static void make(const struct row *row, int large)
{
    const MPI_Aint bytes = sizeof own, unit = sizeof own[0];
    MPI_Info info;
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "alloc_shared_noncontig", row->noncontiguous ? "true" : "false"));
    memory = own;
    if (row->flavor == MPI_WIN_FLAVOR_CREATE) {
        if (large) OK(MPI_Win_create_c(own, bytes, unit, info, MPI_COMM_WORLD, &win));
        else OK(MPI_Win_create(own, bytes, (int)unit, info, MPI_COMM_WORLD, &win));
    } else if (row->flavor == MPI_WIN_FLAVOR_ALLOCATE) {
        if (large) OK(MPI_Win_allocate_c(bytes, unit, info, MPI_COMM_WORLD, &memory, &win));
        else OK(MPI_Win_allocate(bytes, (int)unit, info, MPI_COMM_WORLD, &memory, &win));
    } else {
        if (large) OK(MPI_Win_allocate_shared_c(bytes, unit, info, MPI_COMM_WORLD, &memory, &win));
        else OK(MPI_Win_allocate_shared(bytes, (int)unit, info, MPI_COMM_WORLD, &memory, &win));
    }
    OK(MPI_Info_free(&info));
    OK(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN));
    for (int i = 0; i < ELEMENTS; i++) memory[i] = value(rank, i);
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

/* What a window knows about itself. */
static void describes(const struct row *row)
{
    void *at;
    int flag, length;
    char name[MPI_MAX_OBJECT_NAME];
    MPI_Group group;
    MPI_Info info;
    OK(MPI_Win_get_attr(win, MPI_WIN_BASE, &at, &flag));
    CHECK(flag && at == (void *)memory);
    OK(MPI_Win_get_attr(win, MPI_WIN_SIZE, &at, &flag));
    CHECK(flag && *(MPI_Aint *)at == (MPI_Aint)sizeof own);
    OK(MPI_Win_get_attr(win, MPI_WIN_DISP_UNIT, &at, &flag));
    CHECK(flag && *(int *)at == (int)sizeof own[0]);
    OK(MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &at, &flag));
    CHECK(flag && *(int *)at == row->flavor);
    OK(MPI_Win_set_name(win, row->name));
    OK(MPI_Win_get_name(win, name, &length));
    CHECK(strcmp(name, row->name) == 0 && length == (int)strlen(row->name));
    OK(MPI_Win_get_group(win, &group));
    OK(MPI_Group_compare(group, everybody, &flag));
    CHECK(flag == MPI_IDENT);
    OK(MPI_Group_free(&group));
    OK(MPI_Win_get_info(win, &info));
    OK(MPI_Win_set_info(win, info));
    OK(MPI_Info_free(&info));
    if (row->flavor == MPI_WIN_FLAVOR_SHARED) {
        MPI_Aint bytes, unit;
        int small;
        long *theirs = NULL;
        OK(MPI_Win_shared_query_c(win, next(), &bytes, &unit, &theirs));
        CHECK(bytes == (MPI_Aint)sizeof own && unit == (MPI_Aint)sizeof own[0] && theirs[3] == value(next(), 3));
        OK(MPI_Win_shared_query(win, MPI_PROC_NULL, &bytes, &small, &theirs));
        CHECK(theirs[3] == value(0, 3));
    }
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

/* Element `rank` of the next one is put and read in one epoch of each kind. */
static void synchronizes(void)
{
    long mine, got;
    int flag = 0;
    for (int kind = 0; kind < 5; kind++) {
        mine = value(rank, 100 + kind);
        got = -1;
        switch (kind) {
        case 0:
            OK(MPI_Win_fence(MPI_MODE_NOPRECEDE, win));
            OK(MPI_Put(&mine, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_fence(0, win));
            OK(MPI_Get_c(&got, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
            break;
        case 1:
            OK(MPI_Win_post(everybody, 0, win));
            OK(MPI_Win_start(everybody, 0, win));
            OK(MPI_Put_c(&mine, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Get(&got, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_complete(win));
            OK(MPI_Win_wait(win));
            break;
        case 2:
            OK(MPI_Win_post(everybody, 0, win));
            OK(MPI_Win_start(everybody, 0, win));
            OK(MPI_Put(&mine, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Get(&got, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_complete(win));
            for (flag = 0; !flag;) OK(MPI_Win_test(win, &flag));
            break;
        case 3:
            OK(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, next(), 0, win));
            OK(MPI_Put(&mine, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_flush(next(), win));
            OK(MPI_Win_flush_local(next(), win));
            OK(MPI_Get(&got, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_unlock(next(), win));
            break;
        default:
            OK(MPI_Win_lock_all(0, win));
            OK(MPI_Put(&mine, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_flush_all(win));
            OK(MPI_Win_flush_local_all(win));
            OK(MPI_Get(&got, 1, MPI_LONG, next(), rank, 1, MPI_LONG, win));
            OK(MPI_Win_sync(win));
            OK(MPI_Win_unlock_all(win));
        }
        CHECK(got == mine);
        OK(MPI_Barrier(MPI_COMM_WORLD));
        CHECK(memory[previous()] == value(previous(), 100 + kind));
        OK(MPI_Barrier(MPI_COMM_WORLD));
    }
}

/* All combine into elements of rank 0, with and without what was there. */
static void combines(int large)
{
    long one = 1, old = -1, two[2] = {1, 2}, olds[2] = {-1, -1}, both[2], zero = 0;
    MPI_Request request;
    OK(MPI_Win_fence(0, win));
    if (rank == 0) memory[8] = memory[9] = memory[10] = memory[11] = 0;
    OK(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
    OK(MPI_Win_lock_all(0, win));
    if (large) {
        OK(MPI_Accumulate_c(two, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win));
        OK(MPI_Get_accumulate_c(two, 2, MPI_LONG, olds, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win));
        OK(MPI_Raccumulate_c(two, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win, &request));
        OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
        OK(MPI_Rget_accumulate_c(two, 2, MPI_LONG, olds, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win, &request));
    } else {
        OK(MPI_Accumulate(two, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win));
        OK(MPI_Get_accumulate(two, 2, MPI_LONG, olds, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win));
        OK(MPI_Raccumulate(two, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win, &request));
        OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
        OK(MPI_Rget_accumulate(two, 2, MPI_LONG, olds, 2, MPI_LONG, 0, 8, 2, MPI_LONG, MPI_SUM, win, &request));
    }
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(olds[0] >= 3 && olds[0] < 4 * size);
    OK(MPI_Fetch_and_op(&one, &old, MPI_LONG, 0, 10, MPI_SUM, win));
    CHECK(old >= 0 && old < size);
    OK(MPI_Compare_and_swap(&one, &zero, &old, MPI_LONG, 0, 11, win));
    CHECK(old == 0 || old == 1);
    OK(MPI_Win_unlock_all(win));
    OK(MPI_Barrier(MPI_COMM_WORLD));
    OK(MPI_Win_lock(MPI_LOCK_SHARED, 0, 0, win));
    if (large) {
        OK(MPI_Rget_c(both, 2, MPI_LONG, 0, 8, 2, MPI_LONG, win, &request));
    } else {
        OK(MPI_Rget(both, 2, MPI_LONG, 0, 8, 2, MPI_LONG, win, &request));
    }
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(both[0] == 4 * size && both[1] == 8 * size);
    OK(MPI_Fetch_and_op(NULL, &old, MPI_LONG, 0, 10, MPI_NO_OP, win));
    CHECK(old == size);
    OK(MPI_Fetch_and_op(NULL, &old, MPI_LONG, 0, 11, MPI_NO_OP, win));
    CHECK(old == 1);
    OK(MPI_Win_unlock(0, win));
    OK(MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win));
    if (large) {
        OK(MPI_Rput_c(&one, 1, MPI_LONG, rank, 12, 1, MPI_LONG, win, &request));
    } else {
        OK(MPI_Rput(&one, 1, MPI_LONG, rank, 12, 1, MPI_LONG, win, &request));
    }
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(memory[12] == 1);
    OK(MPI_Win_unlock(rank, win));
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

/* Elements that do not begin where their type does: both sides have the shape. */
static void combines_apart(void)
{
    int block = 2;
    MPI_Aint at = 3 * sizeof(long);
    MPI_Datatype shifted;
    long from[5] = {0, 0, 0, 10, 20}, old[5] = {-1, -1, -1, -1, -1};
    OK(MPI_Type_create_hindexed(1, &block, &at, MPI_LONG, &shifted));
    OK(MPI_Type_commit(&shifted));
    OK(MPI_Win_lock(MPI_LOCK_EXCLUSIVE, rank, 0, win));
    for (int i = 0; i < 5; i++) memory[20 + i] = i;
    OK(MPI_Accumulate(from, 1, shifted, rank, 20, 1, shifted, MPI_SUM, win));
    CHECK(memory[20] == 0 && memory[22] == 2 && memory[23] == 13 && memory[24] == 24);
    OK(MPI_Get_accumulate(from, 1, shifted, old, 1, shifted, rank, 20, 1, shifted, MPI_REPLACE, win));
    CHECK(old[2] == -1 && old[3] == 13 && old[4] == 24 && memory[23] == 10 && memory[24] == 20);
    OK(MPI_Get_accumulate(NULL, 0, shifted, old, 2, MPI_LONG, rank, 20, 1, shifted, MPI_NO_OP, win));
    CHECK(old[0] == 10 && old[1] == 20 && memory[22] == 2);
    OK(MPI_Win_unlock(rank, win));
    OK(MPI_Type_free(&shifted));
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

static void refuses(void)
{
    long one = 1, old;
    double real = 1;
    MPI_Op mine = MPI_OP_NULL;
    FAILS(MPI_ERR_RMA_SYNC, MPI_Put(&one, 1, MPI_LONG, rank, 0, 1, MPI_LONG, win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_unlock(rank, win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_unlock_all(win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_flush(rank, win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_complete(win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_wait(win));
    FAILS(MPI_ERR_LOCKTYPE, MPI_Win_lock(77, rank, 0, win));
    FAILS(MPI_ERR_ASSERT, MPI_Win_fence(1 << 30, win));
    FAILS(MPI_ERR_RMA_FLAVOR, MPI_Win_attach(win, own, 8));
    FAILS(MPI_ERR_RMA_FLAVOR, MPI_Win_detach(win, own));
    OK(MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_lock(MPI_LOCK_SHARED, rank, 0, win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_fence(0, win));
    FAILS(MPI_ERR_RMA_SYNC, MPI_Win_free(&win));
    FAILS(MPI_ERR_RANK, MPI_Put(&one, 1, MPI_LONG, size, 0, 1, MPI_LONG, win));
    FAILS(MPI_ERR_DISP, MPI_Put(&one, 1, MPI_LONG, rank, -1, 1, MPI_LONG, win));
    FAILS(MPI_ERR_COUNT, MPI_Put(&one, -1, MPI_LONG, rank, 0, 1, MPI_LONG, win));
    FAILS(MPI_ERR_TYPE, MPI_Put(&one, 1, MPI_DATATYPE_NULL, rank, 0, 1, MPI_LONG, win));
    FAILS(MPI_ERR_RMA_RANGE, MPI_Put(&one, 1, MPI_LONG, rank, ELEMENTS, 1, MPI_LONG, win));
    FAILS(MPI_ERR_RMA_RANGE, MPI_Get(&one, 1, MPI_LONG, rank, (MPI_Aint)1 << 60, 1, MPI_LONG, win));
    FAILS(MPI_ERR_TRUNCATE, MPI_Put(&one, 1, MPI_LONG, rank, 0, 2, MPI_LONG, win));
    FAILS(MPI_ERR_TYPE, MPI_Accumulate(&real, 1, MPI_DOUBLE, rank, 0, 1, MPI_LONG, MPI_SUM, win));
    FAILS(MPI_ERR_OP, MPI_Accumulate(&one, 1, MPI_LONG, rank, 0, 1, MPI_LONG, mine, win));
    FAILS(MPI_ERR_OP, MPI_Accumulate(&real, 1, MPI_DOUBLE, rank, 0, 1, MPI_DOUBLE, MPI_BAND, win));
    FAILS(MPI_ERR_TYPE, MPI_Compare_and_swap(&real, &real, &real, MPI_DOUBLE, rank, 0, win));
    FAILS(MPI_ERR_BUFFER, MPI_Put(NULL, 1, MPI_LONG, rank, 0, 1, MPI_LONG, win));
    FAILS(MPI_ERR_BUFFER, MPI_Fetch_and_op(&one, MPI_IN_PLACE, MPI_LONG, rank, 0, MPI_SUM, win));
    OK(MPI_Put(&one, 1, MPI_LONG, MPI_PROC_NULL, 0, 1, MPI_LONG, win));
    OK(MPI_Fetch_and_op(&one, &old, MPI_LONG, MPI_PROC_NULL, 0, MPI_SUM, win));
    OK(MPI_Win_unlock(rank, win));
    OK(MPI_Barrier(MPI_COMM_WORLD));
}

/* Memory that comes and goes: each rank hands the addresses of its pieces to all. */
static void attaches(void)
{
    static long pieces[3][ELEMENTS];
    MPI_Aint mine[3], *all = malloc(sizeof mine * (size_t)size);
    long got = -1, one = 1;
    int flavor, flag;
    void *at;
    OK(MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    OK(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN));
    OK(MPI_Win_get_attr(win, MPI_WIN_CREATE_FLAVOR, &at, &flag));
    flavor = *(int *)at;
    CHECK(flag && flavor == MPI_WIN_FLAVOR_DYNAMIC);
    OK(MPI_Win_get_attr(win, MPI_WIN_BASE, &at, &flag));
    CHECK(flag && at == MPI_BOTTOM);
    for (int n = 0; n < 3; n++) {
        for (int i = 0; i < ELEMENTS; i++) pieces[n][i] = value(rank, 100 * n + i);
        OK(MPI_Win_attach(win, pieces[n], sizeof pieces[n]));
        OK(MPI_Get_address(pieces[n], &mine[n]));
    }
    FAILS(MPI_ERR_RMA_ATTACH, MPI_Win_attach(win, pieces[1] + 4, 8));
    FAILS(MPI_ERR_RMA_ATTACH, MPI_Win_detach(win, pieces[1] + 4));
    FAILS(MPI_ERR_SIZE, MPI_Win_attach(win, own, -1));
    FAILS(MPI_ERR_BASE, MPI_Win_attach(win, NULL, 8));
    OK(MPI_Win_attach(win, own, 0));
    OK(MPI_Win_detach(win, own));
    OK(MPI_Allgather(mine, 3, MPI_AINT, all, 3, MPI_AINT, MPI_COMM_WORLD));
    OK(MPI_Win_fence(0, win));
    for (int n = 0; n < 3; n++) {
        OK(MPI_Get(&got, 1, MPI_LONG, next(), MPI_Aint_add(all[3 * next() + n], 8 * 5), 1, MPI_LONG, win));
        CHECK(got == value(next(), 100 * n + 5));
    }
    OK(MPI_Accumulate(&one, 1, MPI_LONG, next(), all[3 * next()], 1, MPI_LONG, MPI_SUM, win));
    OK(MPI_Win_fence(0, win));
    CHECK(pieces[0][0] == value(rank, 0) + 1);
    OK(MPI_Win_detach(win, pieces[2]));
    OK(MPI_Win_fence(0, win));
    FAILS(MPI_ERR_RMA_RANGE, MPI_Get(&got, 1, MPI_LONG, next(), all[3 * next() + 2], 1, MPI_LONG, win));
    FAILS(MPI_ERR_RMA_RANGE, MPI_Put(&one, 1, MPI_LONG, next(), 8, 1, MPI_LONG, win));
    OK(MPI_Win_fence(MPI_MODE_NOSUCCEED, win));
    OK(MPI_Win_free(&win));
    free(all);
}

static void cannot_be_made(void)
{
    long *base;
    FAILS(MPI_ERR_SIZE, MPI_Win_create(own, -1, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    FAILS(MPI_ERR_DISP, MPI_Win_create(own, 8, 0, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    FAILS(MPI_ERR_BASE, MPI_Win_create(NULL, 8, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &win));
    FAILS(MPI_ERR_SIZE, MPI_Win_allocate(-8, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win));
    FAILS(MPI_ERR_DISP, MPI_Win_allocate_shared(8, -1, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win));
    FAILS(MPI_ERR_NO_MEM, MPI_Win_allocate((MPI_Aint)1 << 60, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &base, &win));
    FAILS(MPI_ERR_COMM, MPI_Win_create_dynamic(MPI_INFO_NULL, MPI_COMM_NULL, &win));
    CHECK(win == MPI_WIN_NULL);
    FAILS(MPI_ERR_WIN, MPI_Win_free(&win));
    FAILS(MPI_ERR_WIN, MPI_Win_fence(0, win));
}

static int deletions;

static int deleted_of_win(MPI_Win win, int keyval, void *value, void *extra)
{
    CHECK(win != MPI_WIN_NULL && keyval != MPI_KEYVAL_INVALID && extra == &deletions);
    deletions += *(int *)value;
    return MPI_SUCCESS;
}

static void attributes(void)
{
    int key = MPI_KEYVAL_INVALID, nine = 9, flag = 0, *found = NULL;
    MPI_Win mine;
    OK(MPI_Win_create(&nine, sizeof nine, 1, MPI_INFO_NULL, MPI_COMM_WORLD, &mine));
    OK(MPI_Win_set_errhandler(mine, MPI_ERRORS_RETURN));
    OK(MPI_Win_create_keyval(MPI_WIN_NULL_COPY_FN, deleted_of_win, &key, &deletions));
    OK(MPI_Win_set_attr(mine, key, &nine));
    OK(MPI_Win_get_attr(mine, key, &found, &flag));
    CHECK(flag && found == &nine);
    deletions = 0;
    OK(MPI_Win_delete_attr(mine, key));
    CHECK(deletions == 9);
    OK(MPI_Win_free_keyval(&key));
    FAILS(MPI_ERR_KEYVAL, MPI_Win_set_attr(mine, MPI_WIN_BASE, &nine));
    OK(MPI_Win_free(&mine));
}

int main(void)
{
    begin();
    OK(MPI_Comm_group(MPI_COMM_WORLD, &everybody));
    cannot_be_made();
    for (int large = 0; large < 2; large++)
        for (int kind = 0; kind < KINDS; kind++) {
            make(&rows[kind], large);
            describes(&rows[kind]);
            synchronizes();
            combines(large);
            combines_apart();
            refuses();
            OK(MPI_Win_free(&win));
            CHECK(win == MPI_WIN_NULL);
        }
    attaches();
    attributes();
    OK(MPI_Group_free(&everybody));
    return finish();
}
