//! Communicators with a topology (MPI 5.0 chapter 8): construction and inquiry.
