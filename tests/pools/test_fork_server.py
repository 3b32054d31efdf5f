"""The fork server: who kills it, or the process that started it, leaves no trouble."""

import signal
import textwrap
import unittest

from watch import ScriptCase, wait_until

START = """
import os, signal, sys, time
from multiprocessing import forkserver
import phalanx.multiprocessing as mp
ctx = mp.get_context("forkserver")
def kill_the_server():
    os.kill(forkserver._forkserver._forkserver_pid, signal.SIGKILL)
"""


class Servers(ScriptCase):
    def test_a_killed_parent_leaves_no_directory(self) -> None:
        script = self.start(
            START
            + textwrap.dedent("""
            def wait(queue):
                print("waiting", flush=True)
                queue.get()
            if __name__ == "__main__":
                with ctx.Pool(2) as pool:
                    pool.map(wait, [ctx.Queue()] * 2, chunksize=1)
            """)
        )
        script.wait_for("waiting", times=2)
        self.assertEqual(len(list((script.folder / "tmp").iterdir())), 1)
        script.kill()
        script.end()
        self.assert_nothing_left()

    def test_a_parent_killed_right_after_the_server_started(self) -> None:
        for seconds in (0.0, 0.02, 0.05, 0.1):
            with self.subTest(seconds=seconds):
                script = self.start(
                    START
                    + textwrap.dedent("""
                    if __name__ == "__main__":
                        forkserver._forkserver._preload_modules = [
                            "phalanx.multiprocessing._fork_server_end"
                        ]
                        forkserver.ensure_running()
                        time.sleep(float(sys.argv[1]))
                        os.kill(os.getpid(), signal.SIGKILL)
                    """),
                    str(seconds),
                )
                self.assertEqual(script.end().status, -signal.SIGKILL)
                self.assert_nothing_left()

    def test_the_directory_stays_while_its_owner_lives(self) -> None:
        script = self.start(
            START
            + textwrap.dedent("""
            def nothing():
                pass
            if __name__ == "__main__":
                child = ctx.Process(target=nothing)
                child.start()
                child.join()
                folder = os.path.dirname(forkserver._forkserver._forkserver_address)
                forkserver._forkserver._stop()
                print(os.path.isdir(folder))
            """)
        )
        ended = script.end()
        self.assertEqual((ended.status, ended.out, ended.err), (0, "True\n", ""))

    def test_a_server_killed_before_it_forks_is_replaced(self) -> None:
        ended = self.run_script(
            START
            + textwrap.dedent("""
            def nothing():
                pass
            if __name__ == "__main__":
                forkserver.ensure_running()
                kill_the_server()
                child = ctx.Process(target=nothing)
                child.start()
                child.join()
                print(child.exitcode)
            """)
        )
        self.assertEqual(ended.lines, ["0"], ended.text)

    def test_a_server_killed_with_a_request_in_its_hands(self) -> None:
        # It is stopped, so that the request waits in its socket, and then killed.
        ended = self.run_script(
            START
            + textwrap.dedent("""
            import threading
            def once(queue):
                queue.put("ran")
            if __name__ == "__main__":
                queue = ctx.Queue()
                forkserver.ensure_running()
                os.kill(forkserver._forkserver._forkserver_pid, signal.SIGSTOP)
                threading.Timer(0.5, kill_the_server).start()
                child = ctx.Process(target=once, args=(queue,))
                child.start()
                child.join()
                print(child.exitcode, queue.get(), queue.empty())
            """)
        )
        self.assertEqual(ended.lines, ["0 ran True"], ended.text)

    def test_a_server_that_always_ends_is_an_error_that_says_so(self) -> None:
        ended = self.run_script(
            START
            + textwrap.dedent("""
            if __name__ == "__main__":
                with open("fatal.py", "w") as module:
                    module.write("import os; os._exit(3)")
                mp.set_forkserver_preload(["fatal"])
                try:
                    ctx.Process(target=print).start()
                except ConnectionError as error:
                    print(error)
            """)
        )
        self.assertIn("cannot be started: the fork server ended", ended.out)
        self.assertEqual(ended.err, "")


class Queues(ScriptCase):
    def test_workers_that_wait_for_a_queue_end_with_their_parent(self) -> None:
        for method in ("fork", "spawn", "forkserver"):
            with self.subTest(method):
                script = self.start(
                    """
                    import sys, threading
                    import phalanx.multiprocessing as mp
                    def get(queue):
                        print("waiting", flush=True)
                        queue.get()
                    def run():
                        ctx = mp.get_context(sys.argv[1])
                        with ctx.Pool(2) as pool:
                            pool.map(get, [ctx.Queue()] * 2, chunksize=1)
                    if __name__ == "__main__":
                        # Not the main thread starts them. It waits: one that is ending
                        # can be refused new threads and forks (3.12).
                        starter = threading.Thread(target=run)
                        starter.start()
                        starter.join()
                    """,
                    method,
                )
                script.wait_for("waiting", times=2)
                script.kill()
                script.end()
                self.assertTrue(wait_until(lambda s=script: not s.processes()))
                self.assert_nothing_left()


if __name__ == "__main__":
    unittest.main()
