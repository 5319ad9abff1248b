"""parity.bin: the exclusive or of the files of a store, from which damage to one of them is undone."""

from __future__ import annotations

import numpy as np

from ..checksums import crc32c
from .format import LATENT, PARITY, PAYLOAD
from .head import CHECKSUMS, HEAD

#: Largest parity.bin: damage of up to half of it, a block of a disk, is repaired.
PARITY_BYTES = 8192


def is_protected(key: str) -> bool:
    """Whether the parity covers a file: all but payload and latents (most of the bytes) and those beside Zarr."""
    return not key.startswith((PAYLOAD + "/c/", LATENT + "/c/")) and key not in (CHECKSUMS, PARITY, HEAD)


def add_parity(parity: np.ndarray, data: bytes) -> None:
    """Exclusive or of a file into the parity: byte i of the file at i modulo the parity's length."""
    values = np.frombuffer(data, np.uint8)
    whole = values.size // parity.size * parity.size
    if whole:
        parity ^= np.bitwise_xor.reduce(values[:whole].reshape(-1, parity.size), axis=0)
    parity[: values.size - whole] ^= values[whole:]


def undo_damage(data: bytes, size: int, checksum: int, others: list[bytes], parity: bytes) -> bytes | None:
    """The undamaged file, from its damaged bytes, all other protected files and the parity; None where that fails.

    The parity says which bytes are wrong, but where in the file they belong only modulo its length: each place is
    tried against the checksum.
    """
    values = np.frombuffer(data if len(data) == size else bytes(size), np.uint8)
    missing = np.frombuffer(parity, np.uint8).copy()
    if not missing.size:
        return None
    for other in [values.tobytes(), *others]:
        add_parity(missing, other)
    wrong = np.flatnonzero(missing)
    if not wrong.size:
        return None
    # The shortest run around the circle that has all wrong bytes begins after the longest gap between them. It is the
    # true one for up to half the circle; a file no longer than the circle can be missing altogether.
    gaps = np.diff(wrong, append=wrong[0] + missing.size)
    first = int(wrong[(int(gaps.argmax()) + 1) % wrong.size])
    for start, length in ((first, missing.size - int(gaps.max()) + 1), (0, missing.size)):
        run = np.roll(missing, -start)[:length]
        for place in range(start - missing.size, size, missing.size):
            low, high = max(place, 0), min(place + length, size)
            if low < high:
                candidate = values.copy()
                candidate[low:high] ^= run[low - place : high - place]
                if crc32c(candidate.tobytes()) == checksum:
                    return candidate.tobytes()
    return None
