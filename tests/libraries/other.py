"""On any MPI library: exceptions begin with the class and what it means.

PHALANX_MPI=... phalanx run -n 2 tests/libraries/other.py
"""

import array
import pickle
import sys
import unittest

from phalanx import MPI
from together import main

COMM = MPI.COMM_WORLD


class Texts(unittest.TestCase):
    def test_every_class_begins_with_its_name(self):
        for name in dir(MPI):
            if not name.startswith("ERR_") or name in ("ERR_LASTCODE",):
                continue
            number = getattr(MPI, name)
            text = MPI.Get_error_string(number)
            if number == MPI.ERR_UNKNOWN and name != "ERR_UNKNOWN":
                continue  # a name that the library does not have
            alias = {"ERR_PROC_FAILED": "ERR_PROC_ABORTED"}.get(name, name)
            self.assertTrue(text.startswith(f"MPI_{alias}: "), text)
            self.assertEqual(str(MPI.Exception(number)), text)
            self.assertEqual(MPI.Exception(number).Get_error_string(), text)

    def test_a_truncated_message_is_named(self):
        if "Intel" in MPI.Get_library_version():
            self.skipTest("it ends the program at any error: flaws.tsv")
        buffer, short = array.array("i", range(8)), array.array("i", [0])
        request = COMM.Isend(buffer, COMM.rank)
        with self.assertRaises(MPI.Exception) as caught:
            COMM.Recv(short, COMM.rank)
        request.Wait()
        error = caught.exception
        self.assertEqual(error.Get_error_class(), MPI.ERR_TRUNCATE)
        text = str(error)
        self.assertTrue(text.startswith("MPI_ERR_TRUNCATE: message truncated"), text)
        self.assertEqual(str(pickle.loads(pickle.dumps(error))), text)

    def test_texts_of_the_program_stay_as_they_are(self):
        added = MPI.Add_error_class()
        code = MPI.Add_error_code(added)
        for number in (added, code):
            MPI.Add_error_string(number, "ours")
            self.assertEqual(MPI.Get_error_string(number), "ours")
            self.assertEqual(str(MPI.Exception(number)), "ours")


if __name__ == "__main__":
    sys.exit(main())
