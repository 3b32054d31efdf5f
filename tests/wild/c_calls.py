"""Write a C program that makes random calls with wild arguments.

    python c_calls.py ABI_FOLDER wild.c && phalanx cc wild.c -o wild
    ./wild SEED COUNT [--say]

The program has one function for each function of the standard that has a body. What C
cannot check is kept right (sizes of buffers, addresses); handles, ranks, tags, roots,
keys, counts and texts are anything. It prints `N calls`, and where it was when it
crashes or waits for too long. The same seed makes the same calls.
"""

import re
import sys
from pathlib import Path

# What ends the process, starts programs, meets other jobs, or frees bare addresses.
LEFT_OUT = re.compile(
    r"MPI_(Init|Init_thread|Finalize|Abort|Pcontrol|Free_mem|Comm_spawn\w*"
    r"|Comm_accept|Comm_connect|Comm_join|Intercomm_create\w*"
    # These wait for messages that nobody receives.
    r"|(Comm_|Session_|)(Buffer_|)(flush|detach)(_buffer|)|Buffer_(flush|detach)"
    r"|Comm_disconnect"
    # Without the tool interface its functions do nothing.
    r"|T_finalize"
    # These wait for what the only rank does not do.
    r"|Win_start|Win_wait)(_c)?"
)
# What waits for a message gets no rank that one may come from, nor an active request.
WAITS = re.compile(
    r"MPI_(Recv|Probe|Mprobe|Mrecv|Sendrecv\w*|Ssend|Send|Rsend|Wait\w*)(_c)?"
)
# Numbers that may be anything: no memory is as large as they say.
FREE = re.compile(
    r"tag|sendtag|recvtag|dest|source|rank\w*|root|color|key|\w*keyval|error\w*|p|r"
    r"|comm|datatype|errhandler|group|info|op|request|message|session|win|file"
    r"|\w+_index|indx|var_class|direction|disp|reorder|level|typeclass|distrib\w*|order|split_type|required"
)

HANDLES = {
    "MPI_Comm": "MPI_COMM_WORLD, MPI_COMM_SELF, MPI_COMM_NULL",
    "MPI_Datatype": "MPI_INT, MPI_DOUBLE, MPI_BYTE, MPI_CHAR, MPI_SHORT_INT, "
    "MPI_DOUBLE_INT, MPI_C_COMPLEX, MPI_PACKED, MPI_DATATYPE_NULL, MPI_LONG_DOUBLE",
    "MPI_Op": "MPI_SUM, MPI_MAX, MPI_MINLOC, MPI_BAND, MPI_REPLACE, MPI_NO_OP, "
    "MPI_OP_NULL",
    "MPI_Group": "MPI_GROUP_EMPTY, MPI_GROUP_NULL",
    "MPI_Info": "MPI_INFO_NULL, MPI_INFO_ENV",
    "MPI_Request": "MPI_REQUEST_NULL",
    "MPI_Message": "MPI_MESSAGE_NULL, MPI_MESSAGE_NO_PROC",
    "MPI_Errhandler": "MPI_ERRORS_RETURN",
    "MPI_Session": "MPI_SESSION_NULL",
    "MPI_Win": "MPI_WIN_NULL",
    "MPI_File": "MPI_FILE_NULL",
    "MPI_T_enum": "MPI_T_ENUM_NULL",
    "MPI_T_cvar_handle": "MPI_T_CVAR_HANDLE_NULL",
    "MPI_T_pvar_session": "MPI_T_PVAR_SESSION_NULL",
    "MPI_T_pvar_handle": "MPI_T_PVAR_HANDLE_NULL, MPI_T_PVAR_ALL_HANDLES",
    "MPI_T_event_registration": "NULL",
    "MPI_T_event_instance": "NULL",
}

TOP = """\
#include <mpi.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SLOTS = 32, MANY = 64, ROOM = 4 << 20, REACH = 4096 };
static uint64_t state;
static const char *last = "nothing";
static long number;
static int say;
static char *rooms[4];

static uint64_t next(void)
{
    uint64_t z = (state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}
static int below(int n) { return (int)(next() % (uint64_t)n); }

static int small_int(void)
{
    static const int values[] = {0, 0, 1, 1, 1, 2, 2, 3, 4, 8, -1, -5, INT32_MIN};
    return values[below(sizeof values / sizeof *values)];
}
static int any_int(void)
{
    static const int values[] = {INT32_MAX, INT32_MIN, 32767, 65536, -100, 1 << 30};
    int which = below(10);
    if (which < 5) return small_int();
    return which < 8 ? values[below(6)] : (int)next();
}
static int no_rank(void)
{
    static const int values[] = {MPI_PROC_NULL, -77, 5, INT32_MAX, INT32_MIN};
    return values[below(5)];
}
static int64_t small_count(void)
{
    return below(12) ? small_int() : INT64_MIN;
}
static const char *text(void)
{
    static char longest[6000];
    static const char *const values[] = {"", "key", "external32", "mpi://SELF",
                                         "mpi_memory_alloc_kinds", "x", longest};
    memset(longest, 'y', sizeof longest - 1);
    return values[below(7)];
}
/* Room on both sides of what a call may reach from here. */
static void *room(int which)
{
    return rooms[which % 4] + ROOM / 2;
}
static void *in_place_room(int which)
{
    return below(12) ? room(which) : MPI_IN_PLACE;
}
static int *ints(void)
{
    static int arrays[8][MANY * 3];
    static int turn;
    int *array = arrays[turn++ % 8];
    for (int i = 0; i < MANY * 3; i++) array[i] = below(20) ? below(4) : small_int();
    return array;
}
static MPI_Count *counts(void)
{
    static MPI_Count arrays[8][MANY];
    static int turn;
    MPI_Count *array = arrays[turn++ % 8];
    for (int i = 0; i < MANY; i++) array[i] = below(20) ? below(4) : small_count();
    return array;
}
static MPI_Aint *addresses(void)
{
    static MPI_Aint arrays[8][MANY];
    static int turn;
    MPI_Aint *array = arrays[turn++ % 8];
    for (int i = 0; i < MANY; i++) array[i] = below(20) ? below(64) : -below(64);
    return array;
}
static MPI_Status *statuses(void)
{
    static MPI_Status array[MANY];
    if (!below(4)) return MPI_STATUS_IGNORE;
    for (int i = 0; i < MANY; i++)
        for (int j = 0; j < 5; j++) array[i].MPI_internal[j] = below(3) ? 0 : any_int();
    return array;
}
static char **words(void)
{
    static char *list[MANY];
    for (int i = 0; i < MANY - 1; i++) list[i] = (char *)text();
    return list;
}
static int nothing(void) { return 0; }
"""

BOTTOM = """\
static void stopped(int which)
{
    char line[400];
    int n = snprintf(line, sizeof line, "signal %d in call %ld, %s\\n", which, number,
                     last);
    if (write(2, line, n) < 0) _exit(3);
    signal(which, SIG_DFL);
    raise(which);
}

int main(int argc, char **argv)
{
    long count = argc > 2 ? atol(argv[2]) : 1000;
    state = argc > 1 ? strtoull(argv[1], NULL, 10) : 1;
    say = argc > 3;
    for (int i = 0; i < 4; i++) rooms[i] = calloc(ROOM, 1);
    int provided;
    MPI_Init_thread(NULL, NULL, MPI_THREAD_MULTIPLE, &provided);
    MPI_T_init_thread(MPI_THREAD_MULTIPLE, &provided);
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
    MPI_Comm_set_errhandler(MPI_COMM_SELF, MPI_ERRORS_RETURN);
    signal(SIGSEGV, stopped);
    signal(SIGBUS, stopped);
    signal(SIGABRT, stopped);
    signal(SIGALRM, stopped);
    fill();
    for (number = 0; number < count; number++) {
        if (number % 1000 == 0) alarm(30);
        int which = below(sizeof calls / sizeof *calls);
        last = names[which];
        if (say) fprintf(stderr, "%ld %s\\n", number, last);
        calls[which]();
    }
    last = "the end";
    printf("%ld calls\\n", count);
    fflush(stdout);
    /* What is pending cannot be completed by anybody. */
    _exit(0);
}
"""


def pools() -> str:
    parts = []
    for kind, values in HANDLES.items():
        short = kind[4:].lower()
        parts.append(
            f"static {kind} {short}s[SLOTS];\n"
            f"static {kind} any_{short}(void)\n{{\n"
            f"    int pick = below(20);\n"
            f"    if (pick == 0) return ({kind})(uintptr_t)next();\n"
            f"    if (pick == 1) return ({kind})(uintptr_t)below(4096);\n"
            f"    return {short}s[below(SLOTS)];\n}}\n"
            f"static {kind} *many_{short}(void)\n{{\n"
            f"    static {kind} arrays[4][MANY];\n    static int turn;\n"
            f"    {kind} *array = arrays[turn++ % 4];\n"
            f"    for (int i = 0; i < MANY; i++) array[i] = any_{short}();\n"
            f"    return array;\n}}\n"
            f"static {kind} *no_{short}(void)\n{{\n"
            f"    static {kind} array[MANY];\n"
            f"    for (int i = 0; i < MANY; i++)\n"
            f"        array[i] = below(4) ? {values.split(',')[0]}"
            f" : ({kind})(uintptr_t)next();\n"
            f"    return array;\n}}\n"
        )
    fill = "static void fill(void)\n{\n"
    for kind, values in HANDLES.items():
        short = kind[4:].lower()
        fill += (
            f"    {{\n        {kind} values[] = {{{values}}};\n"
            f"        for (int i = 0; i < SLOTS; i++)\n"
            f"            {short}s[i] = values[i % (sizeof values / sizeof *values)];\n"
            "    }\n"
        )
    return "\n".join(parts) + fill + "}\n" + KEEP_TYPES


# A type that reaches further than the rooms are large would be the program's mistake.
KEEP_TYPES = """\
static int is_near(MPI_Datatype type)
{
    MPI_Count lb, extent, true_lb, true_extent, size;
    if (MPI_Type_get_extent_c(type, &lb, &extent)) return 1;
    if (MPI_Type_get_true_extent_c(type, &true_lb, &true_extent)) return 1;
    if (MPI_Type_size_c(type, &size)) return 1;
    MPI_Count all[] = {lb, extent, true_lb, true_extent, size};
    for (int i = 0; i < 5; i++)
        if (all[i] > REACH || all[i] < -REACH) return 0;
    return 1;
}
"""


def argument(
    function: str, kind: str, name: str, array: bool, number: int, coll: bool
) -> str:
    """The expression for one parameter that is no single handle by address."""
    waits = WAITS.fullmatch(function) is not None
    base = kind.removeprefix("const ").strip()
    stars = base.count("*")
    base = base.replace("*", "").strip()
    if base in HANDLES:
        short = base[4:].lower()
        if array or stars:
            idle = waits and base == "MPI_Request"
            return f"no_{short}()" if idle else f"many_{short}()"
        return f"any_{short}()"
    if base.endswith(("_function", "_function_c", "_fn")):
        return f"({base} *){'nothing' if number % 2 else 'NULL'}"
    if base == "MPI_T_cb_safety":
        return "(MPI_T_cb_safety)below(64)"
    if base == "MPI_T_source_order":
        return f"(MPI_T_source_order *)rooms[{number % 4}]"
    if base == "MPI_Status":
        return "statuses()"
    if base == "char" and stars + array >= 2:
        return "words()"
    if base == "char":
        given = kind.startswith("const")
        return "text()" if given else f"(char *)rooms[{number % 4}]"
    if base == "void":
        if not name.endswith("buf"):
            return f"rooms[{number % 4}]"
        place = "in_place_room" if coll and name != "buf" else "room"
        return f"{place}({number})"
    plain = not (array or stars)
    if base == "int":
        if plain and waits and name in ("source", "dest"):
            return "no_rank()"
        if plain:
            return "any_int()" if FREE.fullmatch(name) else "small_int()"
        return "(int (*)[3])ints()" if name == "ranges" else "ints()"
    if base in ("MPI_Count", "MPI_Offset", "MPI_Aint", "MPI_Fint"):
        if plain:
            return "small_count()"
        return {"MPI_Aint": "addresses()", "MPI_Fint": "ints()"}.get(base, "counts()")
    if base == "MPI_F08_status":
        return f"(MPI_F08_status *)rooms[{number % 4}]"
    return ""


def body(function: str, parameters: str, coll: bool) -> str | None:
    """The C function that makes one call; None when a parameter is of no known kind."""
    if parameters == "void":
        return f"    {function}();\n"
    before, given, after = "", [], ""
    for number, text in enumerate(parameters.split(",")):
        match = re.fullmatch(r"\s*(.*?)(\w+)((?:\[\d*\])*)\s*", text)
        if match is None:
            return None
        kind, name, array = match[1].strip(), match[2], bool(match[3])
        base = kind.replace("*", "").strip()
        if (
            base in HANDLES
            and kind.count("*") == 1
            and not array
            and "array" not in name
        ):
            short = base[4:].lower()
            idle = WAITS.fullmatch(function) and base == "MPI_Request"
            pick = "*no_request()" if idle else f"{short}s[slot{number}]"
            before += f"    int slot{number} = SLOTS / 2 + below(SLOTS / 2);\n"
            before += f"    {base} handle{number} = {pick};\n"
            given.append(f"&handle{number}")
            keep = "done == MPI_SUCCESS"
            if base == "MPI_Datatype":
                keep += f" && is_near(handle{number})"
            if not idle:
                after += f"    if ({keep}) {short}s[slot{number}] = handle{number};\n"
            if base == "MPI_Win":
                # A new window ends the program at its first error.
                after += (
                    f"    MPI_Win_set_errhandler(handle{number}, MPI_ERRORS_RETURN);\n"
                )
            continue
        expression = argument(function, kind, name, array, number, coll)
        if not expression:
            return None
        given.append(expression)
    call = f"{function}({', '.join(given)})"
    return f"{before}    int done = (int)(intptr_t){call};\n    (void)done;\n{after}"


def main() -> int:
    abi = Path(sys.argv[1])
    names, text = [], ""
    for line in (abi / "functions.tsv").read_text().splitlines():
        if line.startswith(("#", "chapter\t")):
            continue
        chapter, function, _, parameters = line.split("\t")
        if LEFT_OUT.fullmatch(function):
            continue
        made = body(function, parameters, chapter == "coll")
        if made is None:
            print(f"no call is made for {function}({parameters})", file=sys.stderr)
            return 1
        names.append(function)
        text += f"static void call_{function}(void)\n{{\n{made}}}\n"
    listed = ",\n    ".join(f"call_{name}" for name in names)
    quoted = ",\n    ".join(f'"{name}"' for name in names)
    parts = [
        TOP,
        pools(),
        text,
        f"static void (*const calls[])(void) = {{\n    {listed},\n}};\n",
        f"static const char *const names[] = {{\n    {quoted},\n}};\n",
        BOTTOM,
    ]
    Path(sys.argv[2]).write_text("\n".join(parts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
