"""Many independent tasks: over the processes of one machine or the workers of a Dask cluster, with a progress bar."""
