"""Pure functions on periodic grids."""
