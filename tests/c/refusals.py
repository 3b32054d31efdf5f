"""Write a C program that calls every function with one wrong argument after the other.

    python refusals.py ABI_FOLDER refusals.c && phalanx cc refusals.c -o refusals

One row for each parameter of the standard's functions that takes a handle or a
pointer: the call has a handle that is none there, or a null pointer, and good arguments
for the others. It must fail with the error class of that kind of handle, or that of
arguments. The program prints `N checks`, and which rows differ.
"""

import re
import sys
from pathlib import Path

# A good one of each kind, and the class of the error that a wrong one is.
HANDLES = {
    "MPI_Comm": ("comm", "MPI_ERR_COMM"),
    "MPI_Datatype": ("MPI_INT", "MPI_ERR_TYPE"),
    "MPI_Op": ("MPI_SUM", "MPI_ERR_OP"),
    "MPI_Group": ("group", "MPI_ERR_GROUP"),
    "MPI_Info": ("info", "MPI_ERR_INFO"),
    "MPI_Errhandler": ("MPI_ERRORS_RETURN", "MPI_ERR_ERRHANDLER"),
    "MPI_Request": ("MPI_REQUEST_NULL", "MPI_ERR_REQUEST"),
    "MPI_Message": ("MPI_MESSAGE_NO_PROC", "MPI_ERR_REQUEST"),
    "MPI_Session": ("session", "MPI_ERR_SESSION"),
    "MPI_Win": ("win", "MPI_ERR_WIN"),
    "MPI_File": ("file", "MPI_ERR_FILE"),
    "MPI_T_cvar_handle": ("NULL", "MPI_T_ERR_INVALID_HANDLE"),
    "MPI_T_pvar_handle": ("NULL", "MPI_T_ERR_INVALID_HANDLE"),
    "MPI_T_pvar_session": ("pvars", "MPI_T_ERR_INVALID_SESSION"),
}

# Handles by address that are read, and not only written.
READ = re.compile(
    r"MPI_(\w+_free(_keyval)?|Type_commit|Comm_disconnect|File_close|Start|Wait|Test"
    r"|Cancel|Request_free|Mrecv(_c)?|Imrecv(_c)?|Session_finalize|T_\w+_free"
    r"|T_pvar_handle_free|T_pvar_session_free|T_cvar_handle_free)"
)

TOP = """\
/* ranks: 1 */
#include "check.h"
#include <stdint.h>
#include <unistd.h>

static char room[8][4096];
static int zeros[1024], ones[1024];
static MPI_Count long_ones[64];
static MPI_Aint places[64];
static MPI_Datatype types[64];
static MPI_Comm plain, cart, graph, neighbours;
static MPI_Group group;
static MPI_Session session;
static MPI_Info info;
static MPI_Win win;
static MPI_File file;
static MPI_T_pvar_session pvars;
#define NONE(kind) ((kind)(uintptr_t)0x12345678)
"""

SETUP = """\
static void differs(const char *row, int class, int code)
{
    fprintf(stderr, "%s: expected class %d, found class %d (%d)\\n", row, class,
            strncmp(row, "MPI_T_", 6) ? class_of(code) : code, code);
    failures++;
}

int main(void)
{
    int one = 1, provided;
    char path[64];
    snprintf(path, sizeof path, "/tmp/phalanx-refusals-%d", (int)getpid());
    begin();
    MPI_T_init_thread(MPI_THREAD_MULTIPLE, &provided);
    for (int i = 0; i < 1024; i++) ones[i] = 1;
    for (int i = 0; i < 64; i++) { long_ones[i] = 1; types[i] = MPI_INT; }
    OK(MPI_Comm_dup(MPI_COMM_SELF, &plain));
    OK(MPI_Cart_create(plain, 1, &one, &one, 0, &cart));
    OK(MPI_Graph_create(plain, 1, &one, zeros, 0, &graph));
    OK(MPI_Dist_graph_create_adjacent(plain, 1, zeros, ones, 1, zeros, ones,
                                      MPI_INFO_NULL, 0, &neighbours));
    OK(MPI_Info_create(&info));
    OK(MPI_Info_set(info, "key", "value"));
    OK(MPI_Comm_group(plain, &group));
    OK(MPI_Session_init(MPI_INFO_NULL, MPI_ERRORS_RETURN, &session));
    OK(MPI_Win_create(room[7], 4096, 1, MPI_INFO_NULL, plain, &win));
    OK(MPI_Win_set_errhandler(win, MPI_ERRORS_RETURN));
    OK(MPI_File_open(plain, path, MPI_MODE_CREATE | MPI_MODE_RDWR
                     | MPI_MODE_DELETE_ON_CLOSE, MPI_INFO_NULL, &file));
    OK(MPI_T_pvar_session_create(&pvars));
"""

END = """\
    OK(MPI_File_close(&file));
    OK(MPI_Win_free(&win));
    OK(MPI_Info_free(&info));
    OK(MPI_Group_free(&group));
    OK(MPI_Comm_free(&cart));
    OK(MPI_Comm_free(&graph));
    OK(MPI_Comm_free(&neighbours));
    OK(MPI_Comm_free(&plain));
    OK(MPI_T_pvar_session_free(&pvars));
    OK(MPI_T_finalize());
    OK(MPI_Session_finalize(&session));
    return finish();
}
"""

# Conversions of handles to numbers, which look at nothing; what takes anything, or
# ends the program; events, of which there are none.
NOT_REFUSED = re.compile(r"MPI_(\w+_(toint|fromint)|Pcontrol|Abort|T_event_\w+)")

# Null pointers: buffers, which may be of no bytes, strings and numbers that the tool
# interface gives only to who wants them, and what the program itself does not reach.
MAY_BE_NULL = re.compile(
    r".*, (void|MPI_Status) \w+"
    r"|MPI_T_(category|cvar|pvar|enum|source)_get_(info|item|timestamp), .*"
    r"|MPI_T_category_get_(categories|events), .*"
    r"|MPI_Info_create_env, char argv"
    # Their lists are empty here.
    r"|MPI_(Dist_graph_create\w*|Dist_graph_neighbors), .*|MPI_Graph_(create|map), .*"
    # A predefined type has no contents; nobody has published the name.
    r"|MPI_Type_get_contents(_c)?, .*|MPI_Lookup_name, char port_name"
)
# These would start, end or wait for something else.
NO_POINTERS = re.compile(
    r"MPI_(Init\w*|T_finalize|Comm_(spawn\w*|accept|connect|join|free|disconnect)"
    r"|Session_(init|finalize)|Win_(wait|free)|File_close)"
)


def communicator(function: str) -> str:
    """A communicator on which the other arguments are good."""
    if "eighbor_" in function:
        return "cart"
    if re.match(r"MPI_Dist_graph_neigh", function):
        return "neighbours"
    if re.match(r"MPI_Graph(_get|dims|_neigh)", function):
        return "graph"
    if re.match(r"MPI_Cart(_coords|_get|_rank|_shift|_sub|dim)", function):
        return "cart"
    return "plain"


def good(function: str, base: str, name: str, depth: int, number: int) -> str:
    """An argument that nothing is wrong with; `depth` counts stars and brackets."""
    if base in HANDLES:
        value = communicator(function) if base == "MPI_Comm" else HANDLES[base][0]
        if depth == 0:
            return value
        return "types" if base == "MPI_Datatype" else f"({base} *)room[{number % 7}]"
    if base.endswith(("_function", "_function_c", "_fn")):
        return "NULL"
    if base == "MPI_Status":
        return f"(MPI_Status *)room[{number % 7}]"
    if base == "char" and name == "key":
        return '"key"'
    if base in ("char", "void"):
        words = depth == 2 or not name.endswith("buf")
        return f"(void *)room[{number % 7}]" if words else f"room[{number % 7}]"
    one = re.search(r"count|blocklength|size|dims|index|length|periods|n$", name)
    if depth == 0:
        return "1" if one else "0"
    if base == "int":
        array = "ones" if one else "zeros"
        return f"(int (*)[3]){array}" if name == "ranges" else array
    if base == "MPI_Count":
        return "long_ones"
    return f"({base} *)places"


def is_refused_null(function: str, row: str, base: str, depth: int) -> bool:
    """Whether a parameter is a pointer that must not be null."""
    function_pointer = base.endswith(("_function", "_function_c", "_fn"))
    if depth == 0 or function_pointer or NO_POINTERS.fullmatch(function):
        return False
    return MAY_BE_NULL.fullmatch(row) is None


def error_of_null(function: str, name: str) -> str:
    if function.startswith("MPI_T_"):
        return "MPI_T_ERR_INVALID"
    return "MPI_ERR_BAD_FILE" if name == "filename" else "MPI_ERR_ARG"


def rows(function: str, parameters: str) -> list[tuple[str, str, str]]:
    """What is called with what wrong, the class of the error, and the call."""
    parsed = []
    for text in parameters.split(","):
        match = re.fullmatch(r"\s*(.*?)(\w+)((?:\[\d*\])*)\s*", text)
        assert match is not None, (function, text)
        base = match[1].replace("const ", "").replace("*", "").strip()
        depth = match[1].count("*") + match[3].count("[")
        parsed.append((base, match[2], depth, text))
    made = []
    for wrong, (base, name, depth, text) in enumerate(parsed):
        by_address = depth == 1 and "[" not in text and READ.fullmatch(function)
        is_handle = base in HANDLES and (depth == 0 or by_address)
        row = f"{function}, {base} {name}"
        if not is_handle and not is_refused_null(function, row, base, depth):
            continue
        given = [good(function, b, n, d, i) for i, (b, n, d, _) in enumerate(parsed)]
        if not is_handle:
            error = error_of_null(function, name)
            given[wrong] = "NULL"
        else:
            error = HANDLES[base][1]
            none = f"NONE({base})"
            given[wrong] = none if depth == 0 else f"&({base}){{{none}}}"
        made.append((row, error, f"{function}({', '.join(given)})"))
    return made


def main() -> None:
    calls = ""
    for line in (Path(sys.argv[1]) / "functions.tsv").read_text().splitlines():
        if line.startswith(("#", "chapter\t")):
            continue
        _, function, returns, parameters = line.split("\t")
        if returns != "int" or parameters == "void" or NOT_REFUSED.fullmatch(function):
            continue
        for row, error, call in rows(function, parameters):
            tool = function.startswith("MPI_T_")
            calls += f"    code = {call};\n"
            found = "code" if tool else "class_of(code)"
            calls += f"    checks++;\n    if ({found} != {error})\n"
            calls += f'        differs("{row}", {error}, code);\n'
    Path(sys.argv[2]).write_text(f"{TOP}\n{SETUP}    int code;\n{calls}{END}")


if __name__ == "__main__":
    main()
