"""Interactive clusters of two engines: Phalanx's beside ipyparallel and Dask."""
