/* The tool interface: variables read and set, counts of messages that are known, categories, no events, wrong arguments,
 * before MPI_Init and after MPI_Finalize.
 * ranks: 1 2 3 8 */
#include "check.h"
#include <stdint.h>

#define IS(code, call) CHECK((call) == (code))

typedef unsigned long long number;

enum { MANY = 10, LARGE = 1 << 20 };
static char large[LARGE];

static MPI_T_cvar_handle control(const char *name)
{
    int index = -1, count = 0;
    MPI_T_cvar_handle handle = MPI_T_CVAR_HANDLE_NULL;
    OK(MPI_T_cvar_get_index(name, &index));
    OK(MPI_T_cvar_handle_alloc(index, NULL, &handle, &count));
    CHECK(count == 1 && handle != MPI_T_CVAR_HANDLE_NULL);
    return handle;
}

static number read_control(const char *name)
{
    MPI_T_cvar_handle handle = control(name);
    number value = 0;
    OK(MPI_T_cvar_read(handle, &value));
    OK(MPI_T_cvar_handle_free(&handle));
    CHECK(handle == MPI_T_CVAR_HANDLE_NULL);
    return value;
}

static void write_control(const char *name, number value)
{
    MPI_T_cvar_handle handle = control(name);
    OK(MPI_T_cvar_write(handle, &value));
    CHECK(read_control(name) == value);
    OK(MPI_T_cvar_handle_free(&handle));
}

static MPI_T_pvar_handle performance(MPI_T_pvar_session session, const char *name, int class)
{
    int index = -1, count = 0;
    MPI_T_pvar_handle handle = MPI_T_PVAR_HANDLE_NULL;
    OK(MPI_T_pvar_get_index(name, class, &index));
    OK(MPI_T_pvar_handle_alloc(session, index, NULL, &handle, &count));
    CHECK(count == 1 && handle != MPI_T_PVAR_HANDLE_NULL);
    return handle;
}

static number value(MPI_T_pvar_session session, MPI_T_pvar_handle handle)
{
    number value = UINT64_MAX;
    OK(MPI_T_pvar_read(session, handle, &value));
    return value;
}

static void not_initialized(void)
{
    int n = 0, provided;
    MPI_T_pvar_session session = MPI_T_PVAR_SESSION_NULL;
    IS(MPI_T_ERR_NOT_INITIALIZED, MPI_T_cvar_get_num(&n));
    IS(MPI_T_ERR_NOT_INITIALIZED, MPI_T_pvar_session_create(&session));
    IS(MPI_T_ERR_NOT_INITIALIZED, MPI_T_category_get_num(&n));
    IS(MPI_T_ERR_NOT_INITIALIZED, MPI_T_finalize());
    IS(MPI_T_ERR_INVALID, MPI_T_init_thread(MPI_THREAD_SINGLE, NULL));
    IS(MPI_T_ERR_INVALID, MPI_T_init_thread(-1, &provided));
}

/* What every description says, and strings of all lengths. */
static void descriptions(void)
{
    int n = 0, back, verbosity, bind, scope, class, readonly, continuous, atomic;
    char name[100], text[1000], half[8];
    MPI_Datatype type;
    MPI_T_enum items;
    OK(MPI_T_cvar_get_num(&n));
    CHECK(n > 10);
    for (int i = 0; i < n; i++) {
        int room = sizeof name, more = sizeof text, whole = 0, cut = sizeof half;
        OK(MPI_T_cvar_get_info(i, name, &room, &verbosity, &type, &items, text, &more, &bind, &scope));
        CHECK(room == (int)strlen(name) + 1 && more == (int)strlen(text) + 1);
        CHECK(verbosity >= MPI_T_VERBOSITY_USER_BASIC && bind == MPI_T_BIND_NO_OBJECT && scope >= MPI_T_SCOPE_CONSTANT);
        CHECK(type == MPI_UNSIGNED_LONG_LONG ? items == MPI_T_ENUM_NULL : type == MPI_INT && items != MPI_T_ENUM_NULL);
        OK(MPI_T_cvar_get_index(name, &back));
        CHECK(back == i);
        OK(MPI_T_cvar_get_info(i, NULL, &whole, NULL, NULL, NULL, half, &cut, NULL, NULL));
        CHECK(whole == room && cut == more && strlen(half) == sizeof half - 1 && strncmp(half, text, 7) == 0);
        OK(MPI_T_cvar_get_info(i, name, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    }
    int bad = -1;
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_get_info(0, name, &bad, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    /* Without room the length is only given: what stands there before says nothing. */
    OK(MPI_T_cvar_get_info(0, NULL, &bad, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    CHECK(bad > 1);
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_cvar_get_info(n, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_cvar_get_info(-1, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_get_num(NULL));
    IS(MPI_T_ERR_INVALID_NAME, MPI_T_cvar_get_index("nothing", &back));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_get_index(NULL, &back));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_get_index("eager_limit", NULL));

    OK(MPI_T_pvar_get_num(&n));
    CHECK(n > 15);
    for (int i = 0; i < n; i++) {
        int room = sizeof name, more = sizeof text;
        OK(MPI_T_pvar_get_info(i, name, &room, &verbosity, &class, &type, &items, text, &more, &bind, &readonly,
                               &continuous, &atomic));
        CHECK(room == (int)strlen(name) + 1 && more == (int)strlen(text) + 1 && items == MPI_T_ENUM_NULL);
        CHECK(type == (class == MPI_T_PVAR_CLASS_TIMER ? MPI_DOUBLE : MPI_UNSIGNED_LONG_LONG));
        CHECK((class == MPI_T_PVAR_CLASS_LEVEL) == readonly && readonly == continuous && atomic == !readonly);
        OK(MPI_T_pvar_get_index(name, class, &back));
        CHECK(back == i);
        IS(MPI_T_ERR_INVALID_NAME, MPI_T_pvar_get_index(name, MPI_T_PVAR_CLASS_GENERIC, &back));
    }
    IS(MPI_T_ERR_INVALID_INDEX,
       MPI_T_pvar_get_info(n, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    IS(MPI_T_ERR_INVALID_NAME, MPI_T_pvar_get_index("nothing", MPI_T_PVAR_CLASS_COUNTER, &back));
    IS(MPI_T_ERR_INVALID, MPI_T_pvar_get_num(NULL));
}

static void enumerations(void)
{
    int index, count, item, room = 50;
    char name[50];
    MPI_T_enum items;
    OK(MPI_T_cvar_get_index("single_copy", &index));
    OK(MPI_T_cvar_get_info(index, NULL, NULL, NULL, NULL, &items, NULL, NULL, NULL, NULL));
    OK(MPI_T_enum_get_info(items, &count, name, &room));
    CHECK(count == 2 && strcmp(name, "switch") == 0);
    room = 50;
    OK(MPI_T_enum_get_item(items, 1, &item, name, &room));
    CHECK(item == 1 && strcmp(name, "on") == 0 && room == 3);
    IS(MPI_T_ERR_INVALID_ITEM, MPI_T_enum_get_item(items, 2, &item, NULL, NULL));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_enum_get_info(MPI_T_ENUM_NULL, &count, NULL, NULL));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_enum_get_item((MPI_T_enum)(intptr_t)12345, 0, &item, NULL, NULL));
}

/* Every variable is in one category. */
static void categories(void)
{
    int n = 0, controls, performances, children, all[3], found[3] = {0, 0, 0}, list[50], number = -1, events = -1;
    OK(MPI_T_category_get_num(&n));
    OK(MPI_T_cvar_get_num(&all[0]));
    OK(MPI_T_pvar_get_num(&all[1]));
    for (int i = 0; i < n; i++) {
        char name[50], text[200];
        int room = sizeof name, more = sizeof text;
        OK(MPI_T_category_get_info(i, name, &room, text, &more, &controls, &performances, &children));
        OK(MPI_T_category_get_index(name, &number));
        CHECK(number == i && more == (int)strlen(text) + 1);
        OK(MPI_T_category_get_cvars(i, 50, list));
        for (int j = 0; j < controls; j++)
            CHECK(list[j] >= 0 && list[j] < all[0]);
        OK(MPI_T_category_get_pvars(i, 50, list));
        for (int j = 0; j < performances; j++)
            CHECK(list[j] >= 0 && list[j] < all[1]);
        OK(MPI_T_category_get_categories(i, 50, list));
        for (int j = 0; j < children; j++)
            CHECK(list[j] > 0 && list[j] < n);
        OK(MPI_T_category_get_num_events(i, &events));
        OK(MPI_T_category_get_events(i, 0, NULL));
        CHECK(events == 0);
        found[0] += controls;
        found[1] += performances;
        found[2] += children;
    }
    CHECK(found[0] == all[0] && found[1] == all[1] && found[2] == n - 1);
    OK(MPI_T_category_changed(&number));
    CHECK(number == 0);
    list[1] = -7;
    OK(MPI_T_category_get_categories(0, 1, list)); /* no more than there is room for */
    CHECK(list[1] == -7);
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_category_get_info(n, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_category_get_cvars(-1, 1, list));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_category_get_num_events(n, &events));
    IS(MPI_T_ERR_INVALID, MPI_T_category_get_pvars(1, -1, list));
    IS(MPI_T_ERR_INVALID, MPI_T_category_get_pvars(1, 5, NULL));
    IS(MPI_T_ERR_INVALID_NAME, MPI_T_category_get_index("nothing", &number));
    IS(MPI_T_ERR_INVALID, MPI_T_category_changed(NULL));
}

static void nothing(MPI_T_event_instance instance, MPI_T_event_registration registration, MPI_T_cb_safety safety,
                    void *data)
{
    (void)instance, (void)registration, (void)safety, (void)data;
}

static void events(void)
{
    int n = -1, room = 5;
    MPI_Count time;
    char buffer[8];
    MPI_T_event_registration none = NULL;
    MPI_T_event_instance event = NULL;
    MPI_Info info = MPI_INFO_NULL;
    MPI_T_source_order order;
    OK(MPI_T_event_get_num(&n));
    CHECK(n == 0);
    OK(MPI_T_source_get_num(&n));
    CHECK(n == 0);
    IS(MPI_T_ERR_INVALID, MPI_T_event_get_num(NULL));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_source_get_info(0, buffer, &room, NULL, NULL, &order, &time, &time, &info));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_source_get_timestamp(0, &time));
    IS(MPI_T_ERR_INVALID_INDEX,
       MPI_T_event_get_info(0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL));
    IS(MPI_T_ERR_INVALID_NAME, MPI_T_event_get_index("nothing", &n));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_event_handle_alloc(0, NULL, info, &none));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_handle_set_info(none, info));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_handle_get_info(none, &info));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_register_callback(none, MPI_T_CB_REQUIRE_NONE, info, NULL, nothing));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_callback_set_info(none, MPI_T_CB_REQUIRE_NONE, info));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_callback_get_info(none, MPI_T_CB_REQUIRE_NONE, &info));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_set_dropped_handler(none, NULL));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_handle_free(none, NULL, NULL));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_read(event, 0, buffer));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_copy(event, buffer));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_get_timestamp(event, &time));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_event_get_source(event, &n));
}

static void wrong_controls(void)
{
    int index, count, on = 2;
    number most = UINT64_MAX;
    MPI_T_cvar_handle handle = control("eager_limit"), old = handle;
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_write(handle, &most));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_write(handle, NULL));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_read(handle, NULL));
    OK(MPI_T_cvar_handle_free(&handle));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_handle_free(&handle));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_handle_free(NULL));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_read(old, &most)); /* freed */
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_write(old, &most));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_read((MPI_T_cvar_handle)(intptr_t)-1, &most));
    handle = control("single_copy");
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_write(handle, &on));
    OK(MPI_T_cvar_handle_free(&handle));
    handle = control("ring_bytes");
    IS(MPI_T_ERR_CVAR_SET_NEVER, MPI_T_cvar_write(handle, &most));
    OK(MPI_T_cvar_handle_free(&handle));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_cvar_handle_alloc(-1, NULL, &handle, &count));
    OK(MPI_T_cvar_get_index("eager_limit", &index));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_handle_alloc(index, NULL, NULL, &count));
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_handle_alloc(index, NULL, &handle, NULL));
}

static void wrong_performances(void)
{
    number n;
    int count;
    MPI_T_pvar_session session, other, gone;
    OK(MPI_T_pvar_session_create(&session));
    OK(MPI_T_pvar_session_create(&other));
    MPI_T_pvar_handle handle = performance(session, "sleeps", MPI_T_PVAR_CLASS_COUNTER), old = handle;
    MPI_T_pvar_handle level = performance(session, "posted_receives", MPI_T_PVAR_CLASS_LEVEL);
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(other, handle, &n)); /* of another session */
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_start(other, handle));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_handle_free(other, &handle));
    IS(MPI_T_ERR_INVALID, MPI_T_pvar_read(session, handle, NULL));
    IS(MPI_T_ERR_INVALID, MPI_T_pvar_write(session, handle, NULL));
    IS(MPI_T_ERR_INVALID, MPI_T_pvar_readreset(session, handle, NULL));
    IS(MPI_T_ERR_PVAR_NO_STARTSTOP, MPI_T_pvar_start(session, level));
    IS(MPI_T_ERR_PVAR_NO_STARTSTOP, MPI_T_pvar_stop(session, level));
    IS(MPI_T_ERR_PVAR_NO_WRITE, MPI_T_pvar_write(session, level, &n));
    IS(MPI_T_ERR_PVAR_NO_WRITE, MPI_T_pvar_reset(session, level));
    IS(MPI_T_ERR_PVAR_NO_ATOMIC, MPI_T_pvar_readreset(session, level, &n));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(session, MPI_T_PVAR_ALL_HANDLES, &n));
    IS(MPI_T_ERR_INVALID_INDEX, MPI_T_pvar_handle_alloc(session, 1000, NULL, &handle, &count));
    IS(MPI_T_ERR_INVALID, MPI_T_pvar_handle_alloc(session, 0, NULL, NULL, &count));
    OK(MPI_T_pvar_handle_free(session, &handle));
    CHECK(handle == MPI_T_PVAR_HANDLE_NULL);
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(session, old, &n)); /* freed */
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_stop(session, MPI_T_PVAR_HANDLE_NULL));
    gone = session;
    OK(MPI_T_pvar_session_free(&session));
    CHECK(session == MPI_T_PVAR_SESSION_NULL);
    IS(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_session_free(&session));
    IS(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_read(gone, level, &n)); /* freed, and its handles with it */
    IS(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_start(gone, MPI_T_PVAR_ALL_HANDLES));
    IS(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_handle_alloc(gone, 0, NULL, &handle, &count));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_pvar_read(other, level, &n));
    IS(MPI_T_ERR_INVALID, MPI_T_pvar_session_create(NULL));
    OK(MPI_T_pvar_session_free(&other));
}

/* Every rank sends known messages to its right neighbour: MANY small ones, one large one. */
static void exchange(int limit)
{
    int left = (rank + size - 1) % size, right = (rank + 1) % size;
    static char small[MANY][100];
    static char room[LARGE];
    MPI_Request requests[MANY + 1];
    for (int i = 0; i < MANY; i++)
        OK(MPI_Irecv(small[i], 100, MPI_CHAR, left, i, MPI_COMM_WORLD, &requests[i]));
    OK(MPI_Irecv(room, LARGE, MPI_CHAR, left, MANY, MPI_COMM_WORLD, &requests[MANY]));
    memset(large, 'a' + rank, LARGE);
    for (int i = 0; i < MANY; i++)
        if (i % 2 && limit)
            OK(MPI_Send(large, 100, MPI_CHAR, right, i, MPI_COMM_WORLD));
        else {
            MPI_Request request;
            OK(MPI_Isend(large, 100, MPI_CHAR, right, i, MPI_COMM_WORLD, &request));
            OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
        }
    MPI_Request request;
    OK(MPI_Isend(large, LARGE, MPI_CHAR, right, MANY, MPI_COMM_WORLD, &request));
    OK(MPI_Waitall(MANY + 1, requests, MPI_STATUSES_IGNORE));
    OK(MPI_Wait(&request, MPI_STATUS_IGNORE));
    CHECK(small[MANY - 1][99] == 'a' + left && room[LARGE - 1] == 'a' + left);
}

static void counts(void)
{
    static const char *const names[] = {"sent_eager_messages",  "sent_eager_bytes",      "sent_offered_messages",
                                        "sent_offered_bytes",   "sent_to_self_messages", "received_by_pipe_messages",
                                        "received_by_single_copy_messages"};
    enum { N = sizeof names / sizeof *names };
    MPI_T_pvar_session session, other;
    MPI_T_pvar_handle handles[N], second;
    number seen[N], five = 5;
    OK(MPI_T_pvar_session_create(&session));
    OK(MPI_T_pvar_session_create(&other));
    for (int i = 0; i < N; i++)
        handles[i] = performance(session, names[i], MPI_T_PVAR_CLASS_COUNTER);
    second = performance(other, "sent_eager_messages", MPI_T_PVAR_CLASS_COUNTER);
    exchange(1); /* not counted: nothing is started */
    OK(MPI_Barrier(MPI_COMM_WORLD)); /* the first one makes the shared area, by messages */
    OK(MPI_T_pvar_start(session, MPI_T_PVAR_ALL_HANDLES));
    OK(MPI_T_pvar_write(other, second, &five));
    exchange(1);
    OK(MPI_T_pvar_stop(session, MPI_T_PVAR_ALL_HANDLES));
    exchange(1); /* not counted: all are stopped */
    for (int i = 0; i < N; i++)
        seen[i] = value(session, handles[i]);
    if (size > 1) {
        CHECK(seen[0] == MANY && seen[1] == 100 * MANY && seen[4] == 0);
        CHECK(seen[2] == 1 && seen[3] == LARGE && seen[5] + seen[6] == 1);
    } else
        CHECK(seen[0] == 0 && seen[2] == 0 && seen[4] == MANY + 1);
    CHECK(value(other, second) == 5); /* a handle of its own */
    OK(MPI_T_pvar_start(session, handles[0]));
    OK(MPI_T_pvar_start(session, handles[0])); /* it is */
    exchange(1);
    OK(MPI_T_pvar_readreset(session, handles[0], &seen[0]));
    CHECK(seen[0] == (size > 1 ? 2 * MANY : 0) && value(session, handles[0]) == 0);
    exchange(1);
    CHECK(value(session, handles[0]) == (size > 1 ? (number)MANY : 0));
    OK(MPI_T_pvar_reset(session, MPI_T_PVAR_ALL_HANDLES));
    CHECK(value(session, handles[0]) == 0 && value(session, handles[3]) == 0);
    OK(MPI_T_pvar_session_free(&session));
    OK(MPI_T_pvar_session_free(&other));
}

static void levels(void)
{
    MPI_T_pvar_session session;
    int left = (rank + size - 1) % size, right = (rank + 1) % size, flag;
    static char room[LARGE];
    MPI_Request requests[3];
    OK(MPI_T_pvar_session_create(&session));
    MPI_T_pvar_handle messages = performance(session, "unexpected_messages", MPI_T_PVAR_CLASS_LEVEL);
    MPI_T_pvar_handle bytes = performance(session, "unexpected_bytes", MPI_T_PVAR_CLASS_LEVEL);
    MPI_T_pvar_handle posted = performance(session, "posted_receives", MPI_T_PVAR_CLASS_LEVEL);
    MPI_T_pvar_handle shared = performance(session, "shared_bytes", MPI_T_PVAR_CLASS_LEVEL);
    OK(MPI_Barrier(MPI_COMM_WORLD));
    CHECK(value(session, messages) == 0 && value(session, posted) == 0);
    OK(MPI_Barrier(MPI_COMM_WORLD)); /* all have looked */
    OK(MPI_Isend(large, 24, MPI_CHAR, right, 1, MPI_COMM_WORLD, &requests[0]));
    OK(MPI_Isend(large, LARGE, MPI_CHAR, right, 2, MPI_COMM_WORLD, &requests[1]));
    do
        OK(MPI_Iprobe(left, 2, MPI_COMM_WORLD, &flag, MPI_STATUS_IGNORE));
    while (!flag);
    CHECK(value(session, messages) == 2 && value(session, bytes) == 24 + LARGE);
    OK(MPI_Irecv(room, 24, MPI_CHAR, left, 3, MPI_COMM_WORLD, &requests[2]));
    CHECK(value(session, posted) == 1);
    OK(MPI_Recv(room, LARGE, MPI_CHAR, left, 2, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    CHECK(value(session, messages) == 1 && value(session, bytes) == 24);
    OK(MPI_Recv(room, LARGE, MPI_CHAR, left, 1, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
    CHECK(value(session, messages) == 0 && value(session, bytes) == 0);
    OK(MPI_Cancel(&requests[2]));
    OK(MPI_Waitall(3, requests, MPI_STATUSES_IGNORE));
    CHECK(size == 1 || value(session, shared) > 0);
    OK(MPI_T_pvar_session_free(&session));
}

static void waiting(void)
{
    double seconds = -1, none = -1;
    int token = 0;
    MPI_T_pvar_session session;
    OK(MPI_T_pvar_session_create(&session));
    MPI_T_pvar_handle blocked = performance(session, "blocked_time", MPI_T_PVAR_CLASS_TIMER);
    MPI_T_pvar_handle sleeps = performance(session, "sleeps", MPI_T_PVAR_CLASS_COUNTER);
    OK(MPI_T_pvar_start(session, MPI_T_PVAR_ALL_HANDLES));
    OK(MPI_Barrier(MPI_COMM_WORLD));
    if (size > 1 && rank == 0) {
        double until = MPI_Wtime() + 0.1;
        while (MPI_Wtime() < until)
            ;
        OK(MPI_Send(&token, 1, MPI_INT, 1, 0, MPI_COMM_WORLD));
    } else if (rank == 1) {
        OK(MPI_Recv(&token, 1, MPI_INT, 0, 0, MPI_COMM_WORLD, MPI_STATUS_IGNORE));
        OK(MPI_T_pvar_read(session, blocked, &seconds));
        CHECK(seconds > 0.01 && value(session, sleeps) > 0);
        OK(MPI_T_pvar_reset(session, blocked));
        OK(MPI_T_pvar_read(session, blocked, &none));
        CHECK(none >= 0 && none < seconds);
    }
    OK(MPI_T_pvar_handle_free(session, &sleeps));
    OK(MPI_T_pvar_session_free(&session));
}

/* Messages of all lengths arrive whatever the controls say, and the way of large ones follows them. */
static void controls(void)
{
    number limits[] = {0, 1, 64, 16384, 0};
    limits[4] = read_control("record_limit");
    for (int i = 0; i < 5; i++) {
        write_control("eager_limit", limits[i]);
        write_control("spin_limit", i % 2 ? 0 : 100000);
        exchange(1);
    }
    number over = limits[4] + 1;
    MPI_T_cvar_handle handle = control("eager_limit");
    IS(MPI_T_ERR_INVALID, MPI_T_cvar_write(handle, &over));
    OK(MPI_T_cvar_handle_free(&handle));
    write_control("eager_limit", 16384);
    int off = 0, on = 1, is = -1;
    handle = control("single_copy");
    OK(MPI_T_cvar_write(handle, &off));
    OK(MPI_T_cvar_read(handle, &is));
    CHECK(is == 0);
    exchange(1);
    OK(MPI_T_cvar_write(handle, &on));
    exchange(1);
    OK(MPI_T_cvar_handle_free(&handle));
    CHECK(read_control("spin_budget") <= 1000000000);
    CHECK(read_control("ring_bytes") > limits[4] && read_control("process_slots") >= (number)size);
}

int main(void)
{
    int provided = -1, sum;
    number value = 77, limit = 2048;
    not_initialized();
    OK(MPI_T_init_thread(MPI_THREAD_SINGLE, &provided));
    CHECK(provided == MPI_THREAD_MULTIPLE);
    OK(MPI_T_init_thread(MPI_THREAD_MULTIPLE, &provided));
    descriptions();
    enumerations();
    categories();
    events();
    wrong_controls();
    wrong_performances();
    /* Before MPI_Init: what is set holds later, what is found out is not known. */
    MPI_T_cvar_handle found = control("ring_bytes");
    IS(MPI_T_ERR_NOT_ACCESSIBLE, MPI_T_cvar_read(found, &value));
    CHECK(read_control("eager_limit") == 16384);
    write_control("eager_limit", limit);
    MPI_T_pvar_session session;
    OK(MPI_T_pvar_session_create(&session));
    MPI_T_pvar_handle sent = performance(session, "sent_eager_messages", MPI_T_PVAR_CLASS_COUNTER);
    OK(MPI_T_pvar_start(session, sent));
    begin();
    CHECK(read_control("eager_limit") == limit);
    OK(MPI_T_cvar_read(found, &value));
    CHECK(value > 0);
    exchange(1);
    OK(MPI_T_pvar_read(session, sent, &value));
    CHECK(value == (size > 1 ? (number)MANY : 0));
    OK(MPI_T_pvar_session_free(&session));
    counts();
    levels();
    waiting();
    controls();
    wrong_controls();
    wrong_performances();
    OK(MPI_T_pvar_session_create(&session));
    sent = performance(session, "sent_eager_messages", MPI_T_PVAR_CLASS_COUNTER);
    OK(MPI_T_pvar_start(session, sent));
    int mine[2] = {checks, failures}, all[2];
    OK(MPI_Reduce(mine, all, 2, MPI_INT, MPI_SUM, 0, MPI_COMM_WORLD));
    sum = all[0];
    MPI_Finalize();
    /* After MPI_Finalize: still there, but nothing can be set. */
    failures = 0;
    CHECK(read_control("eager_limit") == 16384);
    OK(MPI_T_pvar_read(session, sent, &value));
    MPI_T_cvar_handle handle = control("eager_limit");
    IS(MPI_T_ERR_CVAR_SET_NOT_NOW, MPI_T_cvar_write(handle, &limit));
    OK(MPI_T_finalize());
    OK(MPI_T_cvar_get_num(&provided));
    OK(MPI_T_finalize());
    not_initialized();
    OK(MPI_T_init_thread(MPI_THREAD_MULTIPLE, &provided));
    IS(MPI_T_ERR_INVALID_HANDLE, MPI_T_cvar_read(handle, &value)); /* of before */
    IS(MPI_T_ERR_INVALID_SESSION, MPI_T_pvar_read(session, sent, &value));
    OK(MPI_T_finalize());
    if (rank == 0)
        printf("%d checks\n", sum);
    return failures != 0 || mine[1] != 0;
}
