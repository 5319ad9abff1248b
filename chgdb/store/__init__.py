"""The store format (docs/format.md): reading it without zarr, writing it, and replacing a store safely.

files (where the bytes lie) -> head, arrays -> reader            one version of a store, checked
table (a store in memory) -> writer, append -> swap, journal     the next version, put in place in one step
"""
