"""Engines as workers of Dask, and back."""

import unittest

import phalanx.ipyparallel as ipp
from home import Home


class Dask(Home):
    def test_engines_become_workers_and_engines_again(self) -> None:
        with ipp.Cluster(n=2, log_level=40) as rc:
            dask = rc.become_dask()
            results = dask.gather(dask.map(lambda x: x * 2, range(5)))
            self.assertEqual(results, [0, 2, 4, 6, 8])
            workers = dask.scheduler_info(n_workers=-1)["workers"].values()
            self.assertEqual(
                sorted(one["name"] for one in workers), ["engine-0", "engine-1"]
            )
            # They are engines all the same, and the names are those of the workers.
            rc[:]["scale"] = 3
            self.assertEqual(rc[:].map_sync(abs, [-1, 2]), [1, 2])
            self.assertEqual(
                rc[:].apply_sync(lambda: __import__("os").getpid()),
                [
                    dask.submit(
                        lambda: __import__("os").getpid(),
                        workers=f"engine-{number}",
                        pure=False,
                    ).result()
                    for number in (0, 1)
                ],
            )
            rc.stop_dask()
            self.assertEqual(dask.status, "closed")
            self.assertEqual(rc[:].map_sync(abs, [-1, 2]), [1, 2])

            # Some of them first, the others then; and all of it once more.
            dask = rc.become_dask(targets=[1])
            self.assertEqual(dask.submit(sum, [1, 2]).result(), 3)
            self.assertIs(rc.become_dask(), dask)
            self.assertEqual(len(dask.scheduler_info(n_workers=-1)["workers"]), 2)
            rc.stop_dask(targets=[0])
            self.assertEqual(dask.submit(sum, [3, 4]).result(), 7)
            rc.stop_dask()
            rc.stop_dask()

    def test_options_go_to_workers(self) -> None:
        with ipp.Cluster(n=1, log_level=40) as rc:
            dask = rc.become_dask(nthreads=2, name="mine")
            (worker,) = dask.scheduler_info(n_workers=-1)["workers"].values()
            self.assertEqual((worker["name"], worker["nthreads"]), ("mine", 2))
            rc.stop_dask()
            with self.assertRaisesRegex(ipp.RemoteError, "no_such_option"):
                rc.become_dask(no_such_option=1)
            rc.stop_dask()


if __name__ == "__main__":
    unittest.main()
