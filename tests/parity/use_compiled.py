"""Use the module that ``compiled.pyx`` becomes, on every rank."""

import compiled
from mpi4py import MPI

comm = MPI.COMM_WORLD
assert compiled.size_of(comm) == comm.size
copy = compiled.duplicate(comm)
assert copy.allreduce(1) == comm.size
found, status = compiled.round_trip(copy, 42)
assert (found, status.source, status.tag) == (42, comm.rank, 5)
cart = comm.Create_cart([comm.size])
again, handle = compiled.made(cart)
assert type(again) is MPI.Cartcomm and handle == cart.handle
assert compiled.add(MPI.INT, MPI.SUM) == 3
try:
    compiled.size_of(MPI.INT)
except TypeError:
    copy.Free()
    cart.Free()
    print("used", flush=True)
