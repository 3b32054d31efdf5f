//! The C surface of the Phalanx engine: libmpi_abi.so.1
