//! The extension module phalanx.MPI
