"""GPAW: the worker that computes one density, its settings, and what computations cost."""
