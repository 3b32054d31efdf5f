//! The attribute that writes MPI_X, PMPI_X and their _c twins around one typed body
