"""The store format (docs/format.md): reading it without zarr, writing it, and replacing a store safely.

format (names, types, columns) -> head -> files (where the bytes lie), arrays, parity -> latents, reader
reader -> table (a store in memory) -> writer, append                       the next version, written
transaction (one writer, staged, swapped in), journal                       and put in place in one step
"""
