//! The embedded message-passing engine of Phalanx, by the chapters of the MPI standard
