"""A library of MPI 3.1 for tests: no functions with large counts, nor newer ones.

It calls itself ``libmpi_abi.so.1`` and passes every call on to a library behind it, as
a translator of the ABI does that stands in front of an older library.
"""

import re
from pathlib import Path

from .process import ROOT, Counts, run

TABLE = ROOT / "abi" / "functions.tsv"
INCLUDE = ROOT / "crates" / "phalanx-mpi" / "include"

# What MPI 4.0 and later editions have added, besides the functions with large counts.
NEWER = re.compile(
    r"MPI_((All|Neighbor_all|Alltoall)\w*|Barrier|Bcast|\w*[Gg]ather\w*|\w*[Ss]catter\w*|Reduce|Scan|Exscan)_init|"
    r"MPI_(Abi_|Buffer_i?flush|Comm_(at|de)tach_buffer|Comm_i?flush_buffer|"
    r"Comm_create_from_group|Comm_idup_with_info|Get_hw_resource_info|"
    r"Group_from_session|Info_create_env|Info_get_string|"
    r"Intercomm_create_from_groups|Isendrecv|Parrived|Pready|Precv|Psend|"
    r"Remove_error_|Request_get_status_[as]|Session_(?!fromint|toint)|Status_get_|"
    r"Status_set_(error|source|tag)|Type_get_value_index|T_)"
)

HEAD = """
#define _GNU_SOURCE
#include <dlfcn.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>

static void *behind;

static void *find(const char *name) {
    void *found = dlsym(behind, name);
    if (!found) {
        fprintf(stderr, "plain library: %s lacks %s\\n", BEHIND, name);
        abort();
    }
    return found;
}

__attribute__((constructor)) static void load(void) {
    behind = dlopen(BEHIND, RTLD_NOW | RTLD_LOCAL);
    if (!behind) {
        fprintf(stderr, "plain library: %s\\n", dlerror());
        abort();
    }
}
"""


def source() -> str:
    """The C text of the library: a function that passes each call on."""
    text = [HEAD]
    rows = (line.split("\t") for line in TABLE.read_text().splitlines())
    for _, name, returns, parameters in (row for row in rows if len(row) == 4):
        if name == "name" or name.endswith("_c") or NEWER.match(name):
            continue
        if name == "MPI_Pcontrol":
            text.append("int MPI_Pcontrol(const int level, ...) { return 0; }")
            continue
        names = [
            re.sub(r"^.*?(\w+)\s*(\[\w*\])*$", r"\1", parameter.strip())
            for parameter in parameters.split(",")
            if parameter.strip() not in ("", "void")
        ]
        passes = f"real({', '.join(names)})"
        kind = f"{returns} (*real)({parameters or 'void'})"
        text.append(
            f"{returns} {name}({parameters or 'void'}) {{\n"
            f"    static {kind};\n"
            f'    if (!real) real = find("{name}");\n'
            f"    {'' if returns == 'void' else 'return '}{passes};\n"
            "}"
        )
    return "\n".join(text) + "\n"


def build(behind: str, folder: Path, counts: Counts) -> str | None:
    """Build it in front of the library `behind`; None, and a failure, if it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    text, library = folder / "plain.c", folder / "libmpi_abi.so.1"
    text.write_text(source())
    command = ["cc", "-shared", "-fPIC", "-O1", "-w", f"-I{INCLUDE}"]
    command += [f'-DBEHIND="{behind}"', "-Wl,-soname,libmpi_abi.so.1"]
    done = run([*command, str(text), "-o", str(library), "-ldl"], 120)
    if done.code != 0:
        counts.fail("the library without large counts", done.output)
        return None
    return str(library)
