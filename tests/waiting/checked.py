"""Programs that work, with mistakes that `--check` finds, and right ones."""

from .program import Found, Program, Right


def racing(name: str, ranks: int, text: str) -> Found:
    """A receive for which several messages are there: a remark, and no mistake."""
    return Found(name, ranks, text, named=r"\[racing-receive\]", status=0)


def threaded(level: str) -> str:
    """The head of a program that asks for a level of threads."""
    return f"""\
import mpi4py
mpi4py.rc.thread_level = "{level}"
from mpi4py import MPI
from threading import Thread
comm = MPI.COMM_WORLD
rank, size = comm.rank, comm.size
def run(call):
    thread = Thread(target=call)
    thread.start()
    thread.join()
"""


UNRECEIVED = r"\[unreceived-message\]"
OPEN = r"\[open-request\]"
LEAKED = r"\[leaked-handle\]"
OVERLAPPING = r"\[overlapping-buffers\]"
CHANGED = r"\[changed-buffer\]"
THREAD = r"\[wrong-thread\]"

MESSAGES: tuple[Program, ...] = (
    Found(
        "one_message_too_many",
        2,
        """
        if rank == 0:
            for number in range(3):
                comm.send(number, dest=1, tag=4)  # found: 0
        else:
            assert [comm.recv(source=0) for _ in range(2)] == [0, 1]
        """,
        named=UNRECEIVED,
    ),
    Right(
        "as_many_messages_as_receives",
        2,
        """
        if rank == 0:
            for number in range(3):
                comm.send(number, dest=1, tag=4)
        else:
            assert [comm.recv(source=0) for _ in range(3)] == [0, 1, 2]
        """,
    ),
    Found(
        "last_word_that_nobody_reads",
        3,
        """
        if rank > 0:
            comm.Isend(bytearray(8), dest=0)
            done = comm.Isend(bytearray(4), dest=0, tag=9)  # found: 1 2
        else:
            for worker in (1, 2):
                comm.Recv(bytearray(8), source=worker)
        """,
        named=UNRECEIVED,
    ),
    Right(
        "last_word_that_is_read_late",
        3,
        """
        import time

        if rank > 0:
            done = comm.Isend(bytearray(4), dest=0, tag=9)
            done.Wait()
        else:
            time.sleep(0.5)
            for worker in (1, 2):
                comm.Recv(bytearray(4), source=worker, tag=9)
        """,
    ),
    Found(
        "result_sent_with_another_tag_too",
        2,
        """
        if rank == 1:
            result = comm.isend("result", dest=0, tag=1)
            extra = comm.isend("again", dest=0, tag=2)  # found: 1
            result.wait()
        else:
            assert comm.recv(source=1, tag=1) == "result"
        """,
        named=UNRECEIVED,
    ),
    Right(
        "both_tags_are_received",
        2,
        """
        if rank == 1:
            result = comm.isend("result", dest=0, tag=1)
            extra = comm.isend("again", dest=0, tag=2)
            MPI.Request.waitall([result, extra])
        else:
            assert comm.recv(source=1, tag=2) == "again"
            assert comm.recv(source=1, tag=1) == "result"
        """,
    ),
    Found(
        "message_to_itself_that_is_left",
        1,
        """
        note = comm.isend("to do", dest=0)  # found: 0
        """,
        named=UNRECEIVED + "|" + OPEN,
    ),
    Right(
        "message_to_itself_that_is_taken",
        1,
        """
        note = comm.isend("to do", dest=0)
        assert comm.recv(source=0) == "to do"
        note.wait()
        """,
    ),
)

REQUESTS: tuple[Program, ...] = (
    Found(
        "receive_that_nobody_needs",
        2,
        """
        room = bytearray(8)
        spare = comm.Irecv(room, source=1 - rank, tag=7)  # found: 0 1
        comm.Barrier()
        """,
        named=OPEN,
    ),
    Right(
        "spare_receive_that_is_cancelled",
        2,
        """
        room = bytearray(8)
        spare = comm.Irecv(room, source=1 - rank, tag=7)
        comm.Barrier()
        spare.Cancel()
        spare.Wait()
        """,
    ),
    Found(
        "receive_of_a_stop_that_never_comes",
        3,
        """
        if rank > 0:
            stop = comm.irecv(source=0, tag=1)  # found: 1 2
        assert comm.allreduce(1) == 3
        """,
        named=OPEN,
    ),
    Right(
        "receive_of_a_stop_that_comes",
        3,
        """
        if rank > 0:
            stop = comm.irecv(source=0, tag=1)
        assert comm.allreduce(1) == 3
        if rank == 0:
            for worker in (1, 2):
                comm.send(None, dest=worker, tag=1)
        else:
            stop.wait()
        """,
    ),
    Found(
        "generalized_request_that_is_never_completed",
        1,
        """
        done = lambda *_: None
        request = MPI.Grequest.Start(done, done, done)  # found: 0
        """,
        named=OPEN,
    ),
    Right(
        "generalized_request_that_is_completed",
        1,
        """
        done = lambda *_: None
        request = MPI.Grequest.Start(done, done, done)
        request.Complete()
        request.Wait()
        """,
    ),
    Found(
        "persistent_receive_that_is_started_once_more",
        2,
        """
        room = bytearray(8)
        if rank == 0:
            request = comm.Recv_init(room, source=1)  # found: 0
            for _ in range(3):
                request.Start()
                if _ < 2:
                    request.Wait()
        else:
            for _ in range(2):
                comm.Send(bytearray(8), dest=0)
        """,
        named=OPEN,
    ),
    Right(
        "persistent_receive_that_is_freed",
        2,
        """
        room = bytearray(8)
        if rank == 0:
            request = comm.Recv_init(room, source=1)
            for _ in range(3):
                request.Start()
                request.Wait()
            request.Free()
        else:
            for _ in range(3):
                comm.Send(bytearray(8), dest=0)
        """,
    ),
)

HANDLES: tuple[Program, ...] = (
    Found(
        "communicator_that_is_lost",
        2,
        """
        def average(x):
            inside = comm.Dup()  # found: 0 1
            return inside.allreduce(x) / inside.size

        for step in range(5):
            average(rank)
        """,
        named=LEAKED + r".*communicator",
    ),
    Right(
        "communicator_that_is_freed",
        2,
        """
        def average(x):
            inside = comm.Dup()
            total = inside.allreduce(x)
            inside.Free()
            return total

        for step in range(5):
            average(rank)
        """,
    ),
    Right(
        "communicator_that_is_there_to_the_end",
        2,
        """
        inside = comm.Dup()
        assert inside.allreduce(1) == 2
        """,
    ),
    Found(
        "datatype_of_each_step",
        1,
        """
        data = bytearray(64)
        for step in range(4):
            column = MPI.BYTE.Create_vector(4, 1, 8).Commit()  # found: 0
            comm.Sendrecv([data, 1, column], 0, 0, bytearray(4), 0, 0)
        """,
        named=LEAKED + r".*datatype",
    ),
    Right(
        "datatype_for_all_steps",
        1,
        """
        data = bytearray(64)
        column = MPI.BYTE.Create_vector(4, 1, 8).Commit()
        for step in range(4):
            comm.Sendrecv([data, 1, column], 0, 0, bytearray(4), 0, 0)
        column.Free()
        """,
    ),
    Found(
        "window_that_is_lost",
        2,
        """
        def exchange():
            window = MPI.Win.Allocate(8, comm=comm)  # found: 0 1
            window.Fence()

        exchange()
        comm.Barrier()
        """,
        named=LEAKED + r".*window",
    ),
    Right(
        "window_that_is_freed",
        2,
        """
        def exchange():
            window = MPI.Win.Allocate(8, comm=comm)
            window.Fence()
            window.Free()

        exchange()
        comm.Barrier()
        """,
    ),
    Found(
        "operation_that_is_lost",
        2,
        """
        def longest(words):
            op = MPI.Op.Create(lambda a, b, t: None, commute=True)  # found: 0 1
            return comm.allreduce(words, op=MPI.MAX)

        longest(rank)
        """,
        named=LEAKED + r".*operation",
    ),
    Right(
        "predefined_handles_and_groups",
        2,
        """
        def ranks():
            group = comm.Get_group()
            info = MPI.Info.Create()
            kind, op, null = MPI.INT, MPI.SUM, MPI.COMM_NULL
            return group.size, MPI.Comm.Get_parent() == null

        assert ranks() == (2, True)
        copy = MPI.Comm(comm)
        del copy
        """,
    ),
)

BUFFERS: tuple[Program, ...] = (
    Found(
        "two_receives_into_one_buffer",
        2,
        """
        if rank == 0:
            room = bytearray(8)
            first = comm.Irecv(room, source=1, tag=1)
            second = comm.Irecv(room, source=1, tag=2)  # found: 0
            MPI.Request.Waitall([first, second])
        else:
            comm.Send(bytearray(8), dest=0, tag=1)
            comm.Send(bytearray(8), dest=0, tag=2)
        """,
        named=OVERLAPPING,
    ),
    Right(
        "two_receives_into_halves_of_a_buffer",
        2,
        """
        if rank == 0:
            room = memoryview(bytearray(16))
            first = comm.Irecv(room[:8], source=1, tag=1)
            second = comm.Irecv(room[8:], source=1, tag=2)
            MPI.Request.Waitall([first, second])
        else:
            comm.Send(bytearray(8), dest=0, tag=1)
            comm.Send(bytearray(8), dest=0, tag=2)
        """,
    ),
    Found(
        "halves_that_are_one_byte_too_long",
        2,
        """
        if rank == 0:
            room = memoryview(bytearray(17))
            first = comm.Irecv(room[:9], source=1, tag=1)
            second = comm.Irecv(room[8:], source=1, tag=2)  # found: 0
            MPI.Request.Waitall([first, second])
        else:
            comm.Send(bytearray(8), dest=0, tag=1)
            comm.Send(bytearray(8), dest=0, tag=2)
        """,
        named=OVERLAPPING,
    ),
    Right(
        "columns_that_lie_between_each_other",
        2,
        """
        column = MPI.BYTE.Create_vector(4, 1, 2).Commit()
        if rank == 0:
            room = memoryview(bytearray(8))
            first = comm.Irecv([room, 1, column], source=1, tag=1)
            second = comm.Irecv([room[1:], 1, column], source=1, tag=2)
            MPI.Request.Waitall([first, second])
        else:
            comm.Send(bytearray(4), dest=0, tag=1)
            comm.Send(bytearray(4), dest=0, tag=2)
        column.Free()
        """,
    ),
    Found(
        "send_from_where_a_receive_writes",
        2,
        """
        field = bytearray(32)
        receive = comm.Irecv(field, source=1 - rank)
        send = comm.Isend(field, dest=1 - rank)  # found: 0 1
        MPI.Request.Waitall([receive, send])
        """,
        named=OVERLAPPING,
    ),
    Right(
        "send_from_beside_where_a_receive_writes",
        2,
        """
        field, edge = bytearray(32), bytearray(32)
        receive = comm.Irecv(edge, source=1 - rank)
        send = comm.Isend(field, dest=1 - rank)
        MPI.Request.Waitall([receive, send])
        """,
    ),
    Found(
        "one_buffer_for_the_answers_of_all",
        3,
        """
        if rank == 0:
            answer = bytearray(4)
            requests = [
                comm.Irecv(answer, source=worker)  # found: 0
                for worker in (1, 2)
            ]
            MPI.Request.Waitall(requests)
        else:
            comm.Send(bytearray(4), dest=0)
        """,
        named=OVERLAPPING,
    ),
    Right(
        "one_buffer_for_the_answers_one_after_the_other",
        3,
        """
        if rank == 0:
            answer = bytearray(4)
            for worker in (1, 2):
                comm.Irecv(answer, source=worker).Wait()
            sends = [comm.Isend(answer, dest=worker) for worker in (1, 2)]
            MPI.Request.Waitall(sends)
        else:
            comm.Send(bytearray(4), dest=0)
            comm.Recv(bytearray(4), source=0)
        """,
    ),
    Found(
        "buffer_is_used_again_too_early",
        2,
        """
        data = bytearray(16)
        if rank == 0:
            send = comm.Isend(data, dest=1)  # found: 0
            data[3] = 1
            send.Wait()
        else:
            comm.Recv(data, source=0)
        """,
        named=CHANGED,
    ),
    Right(
        "buffer_is_used_again_after_the_wait",
        2,
        """
        data = bytearray(16)
        if rank == 0:
            send = comm.Isend(data, dest=1)
            send.Wait()
            data[3] = 1
        else:
            comm.Recv(data, source=0)
        """,
    ),
    Found(
        "one_buffer_for_all_messages_of_a_loop",
        2,
        """
        if rank == 0:
            line, sends = bytearray(8), []
            for number in range(4):
                line[0] = number
                sends.append(comm.Isend(line, dest=1))  # found: 0
            MPI.Request.Waitall(sends)
        else:
            for number in range(4):
                comm.Recv(bytearray(8), source=0)
        """,
        named=CHANGED,
    ),
    Right(
        "a_buffer_for_each_message_of_a_loop",
        2,
        """
        if rank == 0:
            sends = []
            for number in range(4):
                line = bytearray([number] * 8)
                sends.append(comm.Isend(line, dest=1))
            MPI.Request.Waitall(sends)
        else:
            for number in range(4):
                comm.Recv(bytearray(8), source=0)
        """,
    ),
    Found(
        "large_field_is_stepped_while_it_is_sent",
        2,
        """
        field = bytearray(4 << 20)
        if rank == 0:
            send = comm.Isend(field, dest=1)  # found: 0
            field[-1] = 255
            send.Wait()
        else:
            comm.Recv(field, source=0)
        """,
        named=CHANGED,
    ),
    Right(
        "gaps_of_a_column_are_written_while_it_is_sent",
        2,
        """
        column = MPI.BYTE.Create_vector(8, 1, 8).Commit()
        field = bytearray(64)
        if rank == 0:
            send = comm.Isend([field, 1, column], dest=1)
            field[1] = field[63] = 255
            send.Wait()
        else:
            comm.Recv(bytearray(8), source=0)
        column.Free()
        """,
    ),
    Found(
        "persistent_send_whose_data_changes_under_it",
        2,
        """
        data = bytearray(8)
        if rank == 0:
            send = comm.Send_init(data, dest=1)
            for number in range(1, 3):
                send.Start()  # found: 0
                data[0] = number
                send.Wait()
            send.Free()
        else:
            for _ in range(2):
                comm.Recv(data, source=0)
        """,
        named=CHANGED,
    ),
    Right(
        "persistent_send_whose_data_changes_between",
        2,
        """
        data = bytearray(8)
        if rank == 0:
            send = comm.Send_init(data, dest=1)
            for number in range(1, 3):
                data[0] = number
                send.Start()
                send.Wait()
            send.Free()
        else:
            for _ in range(2):
                comm.Recv(data, source=0)
        """,
    ),
)

RACES: tuple[Program, ...] = (
    racing(
        "who_comes_first",
        3,
        """
        import time

        if rank == 0:
            time.sleep(0.5)
            first = comm.recv()  # found: 0
            comm.recv()
        else:
            comm.send(rank, dest=0)
        """,
    ),
    Right(
        "each_in_its_turn",
        3,
        """
        if rank == 0:
            assert [comm.recv(source=worker) for worker in (1, 2)] == [1, 2]
        else:
            comm.send(rank, dest=0)
        """,
    ),
    racing(
        "whose_part_of_the_sum_comes_first",
        3,
        """
        import time

        part = bytearray(8)
        if rank == 0:
            time.sleep(0.5)
            for _ in range(2):
                comm.Recv(part)  # found: 0
        else:
            comm.Send(part, dest=0)
        """,
    ),
    Right(
        "only_one_can_send",
        3,
        """
        if rank == 0:
            assert comm.recv() == 1
            comm.Barrier()
            assert comm.recv() == 2
        else:
            if rank == 1:
                comm.send(rank, dest=0)
            comm.Barrier()
            if rank == 2:
                comm.send(rank, dest=0)
        """,
    ),
    racing(
        "probe_for_any",
        3,
        """
        import time

        if rank == 0:
            time.sleep(0.5)
            message = MPI.Message.Probe(comm)  # found: 0
            message.Recv(bytearray(4))
            comm.Recv(bytearray(4))
        else:
            comm.Send(bytearray(4), dest=0)
        """,
    ),
    Right(
        "any_of_different_tags",
        3,
        """
        import time

        if rank == 0:
            time.sleep(0.5)
            assert comm.recv(tag=2) == 2
            assert comm.recv(tag=1) == 1
        else:
            comm.send(rank, dest=0, tag=rank)
        """,
    ),
    racing(
        "nonblocking_receive_from_any",
        3,
        """
        import time

        if rank == 0:
            time.sleep(0.5)
            request = comm.Irecv(bytearray(4))  # found: 0
            request.Wait()
            comm.Recv(bytearray(4))
        else:
            comm.Send(bytearray(4), dest=0)
        """,
    ),
    Right(
        "many_messages_of_one_rank",
        2,
        """
        import time

        if rank == 0:
            time.sleep(0.3)
            assert [comm.recv() for _ in range(3)] == [0, 1, 2]
        else:
            for number in range(3):
                comm.send(number, dest=0)
        """,
    ),
)

THREADS: tuple[Program, ...] = (
    Found(
        "thread_that_sends_although_funneled",
        2,
        """
        if rank == 0:
            run(lambda: comm.send("x", dest=1))  # found: 0
        else:
            comm.recv(source=0)
        """,
        named=THREAD,
        head=threaded("funneled"),
    ),
    Right(
        "thread_that_computes_although_funneled",
        2,
        """
        parts = []
        run(lambda: parts.append(sum(range(1000))))
        assert comm.allreduce(parts[0]) == 2 * 499500
        """,
        head=threaded("funneled"),
    ),
    Found(
        "thread_that_receives_although_single",
        2,
        """
        if rank == 0:
            comm.send("x", dest=1)
        else:
            run(lambda: comm.recv(source=0))  # found: 1
        """,
        named=THREAD,
        head=threaded("single"),
    ),
    Right(
        "one_thread_where_single",
        2,
        """
        comm.Barrier()
        assert MPI.Query_thread() == MPI.THREAD_SINGLE
        """,
        head=threaded("single"),
    ),
    Found(
        "threads_that_reduce_although_funneled",
        2,
        """
        run(lambda: comm.allreduce(rank))  # found: 0 1
        """,
        named=THREAD,
        head=threaded("funneled"),
    ),
    Right(
        "threads_where_all_may_call",
        2,
        """
        run(lambda: comm.allreduce(rank))
        """,
        head=threaded("multiple"),
    ),
    Found(
        "thread_that_waits_for_a_request_of_another",
        2,
        """
        data = bytearray(8)
        if rank == 0:
            request = comm.Isend(data, dest=1)
            run(lambda: request.Wait())  # found: 0
        else:
            comm.Recv(data, source=0)
        """,
        named=THREAD,
        head=threaded("funneled"),
    ),
    Right(
        "thread_that_asks_what_it_may",
        2,
        """
        asked = []
        run(lambda: asked.append((MPI.Is_thread_main(), MPI.Is_initialized())))
        assert asked == [(False, True)]
        comm.Barrier()
        """,
        head=threaded("funneled"),
    ),
    Right(
        "one_thread_after_the_other_where_serialized",
        2,
        """
        run(lambda: comm.allreduce(rank))
        comm.Barrier()
        """,
        head=threaded("serialized"),
    ),
)

PROGRAMS: tuple[Program, ...] = (
    *MESSAGES,
    *REQUESTS,
    *HANDLES,
    *BUFFERS,
    *RACES,
    *THREADS,
)
