/* Making, naming, comparing and freeing communicators and groups; intercommunicators; attributes; hints.
 * ranks: 1 2 3 4 8 */
#include "check.h"

static void naming(void)
{
    char name[MPI_MAX_OBJECT_NAME];
    int length, result;
    MPI_Comm dup;
    OK(MPI_Comm_get_name(MPI_COMM_WORLD, name, &length));
    CHECK(strcmp(name, "MPI_COMM_WORLD") == 0 && length == 14);
    OK(MPI_Comm_get_name(MPI_COMM_SELF, name, &length));
    CHECK(strcmp(name, "MPI_COMM_SELF") == 0);
    OK(MPI_Comm_get_name(MPI_COMM_NULL, name, &length));
    CHECK(strcmp(name, "MPI_COMM_NULL") == 0);
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &dup));
    OK(MPI_Comm_set_name(dup, "a copy"));
    OK(MPI_Comm_get_name(dup, name, &length));
    CHECK(strcmp(name, "a copy") == 0 && length == 6);
    OK(MPI_Comm_compare(MPI_COMM_WORLD, dup, &result));
    CHECK(result == MPI_CONGRUENT);
    OK(MPI_Comm_compare(dup, dup, &result));
    CHECK(result == MPI_IDENT);
    OK(MPI_Comm_compare(dup, MPI_COMM_SELF, &result));
    CHECK(size == 1 ? result == MPI_CONGRUENT : result == MPI_UNEQUAL);
    /* The error handler came along. */
    FAILS(MPI_ERR_RANK, MPI_Send(NULL, 0, MPI_INT, 999, 0, dup));
    OK(MPI_Comm_free(&dup));
}

static void making(void)
{
    MPI_Comm half, none, some, idup;
    MPI_Request request;
    MPI_Group world, group;
    int n, r, value;
    OK(MPI_Comm_split(MPI_COMM_WORLD, rank % 2, -rank, &half));
    OK(MPI_Comm_size(half, &n));
    OK(MPI_Comm_rank(half, &r));
    CHECK(n == (size + 1 - rank % 2) / 2 && r == n - 1 - rank / 2);
    value = rank;
    OK(MPI_Allreduce(MPI_IN_PLACE, &value, 1, MPI_INT, MPI_MAX, half));
    CHECK(value % 2 == rank % 2);
    OK(MPI_Comm_free(&half));
    OK(MPI_Comm_split(MPI_COMM_WORLD, rank == 0 ? MPI_UNDEFINED : 1, 0, &none));
    CHECK((none == MPI_COMM_NULL) == (rank == 0));
    if (none != MPI_COMM_NULL)
        OK(MPI_Comm_free(&none));
    OK(MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &some));
    OK(MPI_Comm_size(some, &n));
    CHECK(n == size);
    OK(MPI_Comm_free(&some));
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    int first[1] = {0};
    OK(MPI_Group_excl(world, 1, first, &group));
    OK(MPI_Comm_create(MPI_COMM_WORLD, group, &some));
    CHECK((some == MPI_COMM_NULL) == (rank == 0));
    if (some != MPI_COMM_NULL) {
        OK(MPI_Comm_rank(some, &r));
        CHECK(r == rank - 1);
        OK(MPI_Comm_free(&some));
    }
    if (rank > 0) {
        OK(MPI_Comm_create_group(MPI_COMM_WORLD, group, 5, &some));
        OK(MPI_Barrier(some));
        OK(MPI_Comm_free(&some));
    }
    if (group != MPI_GROUP_EMPTY)
        OK(MPI_Group_free(&group));
    OK(MPI_Group_free(&world));
    OK(MPI_Comm_idup(MPI_COMM_WORLD, &idup, &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    OK(MPI_Barrier(idup));
    OK(MPI_Comm_free(&idup));
}

static void groups(void)
{
    MPI_Group world, reversed, back, both;
    int ranges[1][3] = {{size - 1, 0, -1}}, result, mine, theirs, undefined = 0, nobody = MPI_PROC_NULL;
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    OK(MPI_Group_range_incl(world, 1, ranges, &reversed));
    OK(MPI_Group_rank(reversed, &mine));
    CHECK(mine == size - 1 - rank);
    OK(MPI_Group_compare(world, reversed, &result));
    CHECK(result == (size == 1 ? MPI_IDENT : MPI_SIMILAR));
    OK(MPI_Group_translate_ranks(reversed, 1, &mine, world, &theirs));
    CHECK(theirs == rank);
    OK(MPI_Group_translate_ranks(world, 1, &rank, MPI_GROUP_EMPTY, &undefined));
    CHECK(undefined == MPI_UNDEFINED);
    OK(MPI_Group_translate_ranks(world, 1, &nobody, reversed, &theirs));
    CHECK(theirs == MPI_PROC_NULL);
    OK(MPI_Group_difference(world, reversed, &back));
    CHECK(back == MPI_GROUP_EMPTY);
    OK(MPI_Group_union(world, reversed, &both));
    OK(MPI_Group_compare(world, both, &result));
    CHECK(result == MPI_IDENT);
    OK(MPI_Group_free(&both));
    OK(MPI_Group_intersection(reversed, world, &both));
    OK(MPI_Group_compare(reversed, both, &result));
    CHECK(result == MPI_IDENT);
    OK(MPI_Group_free(&both));
    OK(MPI_Group_free(&reversed));
    OK(MPI_Group_free(&world));
    CHECK(world == MPI_GROUP_NULL);
}

static void inter(void)
{
    if (size < 2)
        return;
    MPI_Comm half, across, merged;
    int color = rank % 2, n, remote, flag, value, sum = 0, r;
    OK(MPI_Comm_split(MPI_COMM_WORLD, color, rank, &half));
    OK(MPI_Intercomm_create(half, 0, MPI_COMM_WORLD, 1 - color, 3, &across));
    OK(MPI_Comm_test_inter(across, &flag));
    CHECK(flag);
    OK(MPI_Comm_size(across, &n));
    OK(MPI_Comm_remote_size(across, &remote));
    CHECK(n + remote == size);
    OK(MPI_Comm_rank(across, &r));
    if (r < remote) {
        int other = -1;
        OK(MPI_Sendrecv(&rank, 1, MPI_INT, r, 0, &other, 1, MPI_INT, r, 0, across, MPI_STATUS_IGNORE));
        CHECK(other == (color ? rank - 1 : rank + 1));
    }
    value = 1;
    OK(MPI_Allreduce(&value, &sum, 1, MPI_INT, MPI_SUM, across));
    CHECK(sum == remote);
    value = color == 0 && r == 0 ? 42 : 0;
    OK(MPI_Bcast(&value, 1, MPI_INT, color ? 0 : r == 0 ? MPI_ROOT : MPI_PROC_NULL, across));
    CHECK(color == 0 || value == 42);
    OK(MPI_Intercomm_merge(across, color, &merged));
    OK(MPI_Comm_size(merged, &n));
    OK(MPI_Comm_rank(merged, &r));
    CHECK(n == size);
    OK(MPI_Barrier(merged));
    OK(MPI_Comm_free(&merged));
    OK(MPI_Comm_disconnect(&across));
    CHECK(across == MPI_COMM_NULL);
    OK(MPI_Comm_free(&half));
}

static int copies, deletions, refuse;

static int copy(MPI_Comm old, int key, void *extra, void *in, void *out, int *flag)
{
    (void)old;
    (void)key;
    copies++;
    *(void **)out = (char *)in + 1;
    *flag = extra != NULL;
    return refuse ? MPI_ERR_OTHER : MPI_SUCCESS;
}

static int discard(MPI_Comm comm, int key, void *value, void *extra)
{
    (void)comm;
    (void)key;
    (void)value;
    (void)extra;
    deletions++;
    return refuse ? MPI_ERR_OTHER : MPI_SUCCESS;
}

static void attributes(void)
{
    MPI_Comm dup;
    int kept, lost, verbatim, flag, spare;
    char *value = NULL, data[4];
    OK(MPI_Comm_create_keyval(copy, discard, &kept, data));
    OK(MPI_Comm_create_keyval(copy, discard, &lost, NULL));
    OK(MPI_Comm_create_keyval(MPI_COMM_DUP_FN, MPI_COMM_NULL_DELETE_FN, &verbatim, NULL));
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, kept, &value, &flag));
    CHECK(!flag);
    OK(MPI_Comm_set_attr(MPI_COMM_WORLD, kept, data));
    OK(MPI_Comm_set_attr(MPI_COMM_WORLD, lost, data));
    OK(MPI_Comm_set_attr(MPI_COMM_WORLD, verbatim, data));
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &dup));
    CHECK(copies == 2);
    OK(MPI_Comm_get_attr(dup, kept, &value, &flag));
    CHECK(flag && value == data + 1);
    OK(MPI_Comm_get_attr(dup, lost, &value, &flag));
    CHECK(!flag);
    OK(MPI_Comm_get_attr(dup, verbatim, &value, &flag));
    CHECK(flag && value == data);
    refuse = 1;
    FAILS(MPI_ERR_OTHER, MPI_Comm_delete_attr(dup, kept));
    FAILS(MPI_ERR_OTHER, MPI_Comm_free(&dup));
    CHECK(dup != MPI_COMM_NULL);
    refuse = 0;
    deletions = 0;
    OK(MPI_Comm_free(&dup));
    CHECK(deletions == 1);
    OK(MPI_Comm_delete_attr(MPI_COMM_WORLD, kept));
    OK(MPI_Comm_delete_attr(MPI_COMM_WORLD, lost));
    OK(MPI_Comm_delete_attr(MPI_COMM_WORLD, verbatim));
    CHECK(deletions == 3);
    OK(MPI_Type_create_keyval(MPI_TYPE_DUP_FN, MPI_TYPE_NULL_DELETE_FN, &spare, NULL));
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_set_attr(MPI_COMM_WORLD, spare, data));
    OK(MPI_Type_free_keyval(&spare));
    OK(MPI_Comm_free_keyval(&kept));
    OK(MPI_Comm_free_keyval(&lost));
    OK(MPI_Comm_free_keyval(&verbatim));
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_free_keyval(&verbatim));
}

/* A key that has been given back stays usable for the attributes that have it. */
static void freed_keys(void)
{
    MPI_Comm dup;
    MPI_Datatype type, copied;
    int key, saved, flag;
    char *value = NULL, data;
    OK(MPI_Comm_create_keyval(MPI_COMM_DUP_FN, discard, &key, NULL));
    saved = key;
    OK(MPI_Comm_set_attr(MPI_COMM_WORLD, key, &data));
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &dup));
    OK(MPI_Comm_free_keyval(&key));
    CHECK(key == MPI_KEYVAL_INVALID);
    key = saved;
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_free_keyval(&key));
    deletions = 0;
    OK(MPI_Comm_get_attr(MPI_COMM_WORLD, saved, &value, &flag));
    CHECK(flag && value == &data);
    OK(MPI_Comm_delete_attr(MPI_COMM_WORLD, saved));
    OK(MPI_Comm_get_attr(dup, saved, &value, &flag));
    CHECK(flag && value == &data);
    OK(MPI_Comm_delete_attr(dup, saved));
    CHECK(deletions == 2);
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_delete_attr(dup, saved));
    FAILS(MPI_ERR_KEYVAL, MPI_Comm_set_attr(dup, saved, &data));
    OK(MPI_Comm_free(&dup));

    OK(MPI_Type_create_keyval(MPI_TYPE_DUP_FN, MPI_TYPE_NULL_DELETE_FN, &key, NULL));
    saved = key;
    OK(MPI_Type_contiguous(2, MPI_INT, &type));
    OK(MPI_Type_set_attr(type, key, &data));
    OK(MPI_Type_dup(type, &copied));
    OK(MPI_Type_free_keyval(&key));
    OK(MPI_Type_delete_attr(type, saved));
    OK(MPI_Type_get_attr(copied, saved, &value, &flag));
    CHECK(flag && value == &data);
    OK(MPI_Type_free(&copied));
    FAILS(MPI_ERR_KEYVAL, MPI_Type_set_attr(type, saved, &data));
    OK(MPI_Type_free(&type));

    OK(MPI_Win_create_keyval(MPI_WIN_NULL_COPY_FN, MPI_WIN_NULL_DELETE_FN, &key, NULL));
    OK(MPI_Win_free_keyval(&key));
    CHECK(key == MPI_KEYVAL_INVALID);
}

static int odd_code;

static int odd(MPI_Comm comm, int key, void *value, void *extra)
{
    (void)comm;
    (void)key;
    (void)value;
    (void)extra;
    return odd_code;
}

/* Codes of callbacks reach the caller as they are, and can be described. */
static void codes_of_callbacks(void)
{
    MPI_Comm dup;
    int key, class, length, own[2];
    char text[MPI_MAX_ERROR_STRING];
    OK(MPI_Add_error_class(&own[0]));
    OK(MPI_Add_error_code(own[0], &own[1]));
    OK(MPI_Add_error_string(own[1], "my own reason"));
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &dup));
    OK(MPI_Comm_create_keyval(MPI_COMM_NULL_COPY_FN, odd, &key, NULL));
    OK(MPI_Comm_set_attr(dup, key, NULL));
    odd_code = own[1];
    CHECK(MPI_Comm_delete_attr(dup, key) == own[1]);
    OK(MPI_Error_string(own[1], text, &length));
    CHECK(strcmp(text, "my own reason") == 0);
    odd_code = 0x12345;
    CHECK(MPI_Comm_delete_attr(dup, key) == odd_code);
    CHECK(MPI_Comm_free(&dup) == odd_code);
    OK(MPI_Error_class(odd_code, &class));
    CHECK(class == MPI_ERR_OTHER);
    OK(MPI_Error_string(odd_code, text, &length));
    CHECK(strstr(text, "delete function") != NULL);
    odd_code = MPI_SUCCESS;
    OK(MPI_Comm_free(&dup));
    OK(MPI_Comm_free_keyval(&key));
}

static int removed;

static int note_removed(MPI_Comm comm, int keyval, void *value, void *extra)
{
    CHECK(comm != MPI_COMM_NULL && keyval != MPI_KEYVAL_INVALID && extra == &removed);
    removed += *(int *)value;
    return MPI_SUCCESS;
}

static void old_names(void)
{
    int key = MPI_KEYVAL_INVALID, seven = 7, flag = 0, *found = NULL;
    MPI_Comm comm;
    OK(MPI_Comm_dup(MPI_COMM_WORLD, &comm));
    OK(MPI_Keyval_create(MPI_COMM_NULL_COPY_FN, note_removed, &key, &removed));
    OK(MPI_Attr_put(comm, key, &seven));
    OK(MPI_Attr_get(comm, key, &found, &flag));
    CHECK(flag && found == &seven);
    removed = 0;
    OK(MPI_Attr_delete(comm, key));
    CHECK(removed == 7);
    OK(MPI_Attr_get(comm, key, &found, &flag));
    CHECK(!flag);
    OK(MPI_Keyval_free(&key));
    CHECK(key == MPI_KEYVAL_INVALID);
    OK(MPI_Comm_free(&comm));
}

static void hints(void)
{
    MPI_Info info, back;
    MPI_Comm comm, later;
    MPI_Request request;
    MPI_Group remote;
    int flag = 0, length = 16;
    char value[16];
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "mpi_assert_no_any_tag", "true"));
    OK(MPI_Comm_dup_with_info(MPI_COMM_WORLD, info, &comm));
    OK(MPI_Comm_get_info(comm, &back));
    OK(MPI_Info_get_string(back, "mpi_assert_no_any_tag", &length, value, &flag));
    CHECK(flag && strcmp(value, "true") == 0);
    OK(MPI_Info_free(&back));
    OK(MPI_Comm_idup_with_info(comm, info, &later, &request));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    OK(MPI_Barrier(later));
    OK(MPI_Comm_set_info(later, MPI_INFO_NULL));
    FAILS(MPI_ERR_COMM, MPI_Comm_set_info(MPI_COMM_NULL, info));
    FAILS(MPI_ERR_COMM, MPI_Comm_remote_group(MPI_COMM_WORLD, &remote));
    OK(MPI_Comm_free(&later));
    OK(MPI_Comm_free(&comm));
    OK(MPI_Info_free(&info));
}

/* The even and the odd ranks, as two groups of an intercommunicator. */
static void two_groups(void)
{
    MPI_Group world, mine, theirs, remote;
    MPI_Comm both;
    int n = -1, sum = -1;
    if (size < 2) return;
    OK(MPI_Comm_group(MPI_COMM_WORLD, &world));
    int even[1][3] = {{0, size - 1, 2}};
    OK(MPI_Group_range_incl(world, 1, even, rank % 2 == 0 ? &mine : &theirs));
    OK(MPI_Group_range_excl(world, 1, even, rank % 2 == 0 ? &theirs : &mine));
    OK(MPI_Group_size(theirs, &n));
    CHECK(n == (rank % 2 == 0 ? size / 2 : (size + 1) / 2));
    OK(MPI_Intercomm_create_from_groups(mine, 0, theirs, 0, "even and odd", MPI_INFO_NULL, MPI_ERRORS_RETURN, &both));
    OK(MPI_Comm_remote_group(both, &remote));
    OK(MPI_Group_compare(remote, theirs, &n));
    CHECK(n == MPI_IDENT);
    OK(MPI_Allreduce(&rank, &sum, 1, MPI_INT, MPI_SUM, both));
    int expected = 0;
    for (int r = 1 - rank % 2; r < size; r += 2) expected += r;
    CHECK(sum == expected);
    int wrong[1][3] = {{0, size, 1}};
    MPI_Group none;
    FAILS(MPI_ERR_RANK, MPI_Group_range_excl(world, 1, wrong, &none));
    OK(MPI_Comm_free(&both));
    OK(MPI_Group_free(&remote));
    OK(MPI_Group_free(&mine));
    OK(MPI_Group_free(&theirs));
    OK(MPI_Group_free(&world));
}

int main(void)
{
    begin();
    naming();
    making();
    groups();
    inter();
    attributes();
    freed_keys();
    codes_of_callbacks();
    old_names();
    hints();
    two_groups();
    return finish();
}
