"""The queue of computations, for any DFT code: run folders, workers, checks, and what was refused."""
