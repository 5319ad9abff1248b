"""Bit streams, most significant bit first. The headers of payloads count every bit."""

from __future__ import annotations

from ..errors import CodecError


class BitWriter:
    """Collects integers of given widths.

    >>> writer = BitWriter(); writer.write(5, 3); writer.write(1, 1); writer.to_bytes()
    b'\\xb0'
    """

    def __init__(self) -> None:
        self._chunks: list[str] = []

    def write(self, value: int, width: int) -> None:
        """`value` as `width` bits, 0 <= value < 2**width."""
        if not 0 <= value < 1 << width:
            raise CodecError(f"{value} does not fit in {width} bits")
        if width:
            self._chunks.append(format(value, f"0{width}b"))

    def write_gamma(self, value: int) -> None:
        """A non-negative integer of any size, small ones in few bits (Elias gamma of value + 1)."""
        width = (value + 1).bit_length()
        self.write(0, width - 1)
        self.write(value + 1, width)

    def write_signed(self, value: int) -> None:
        """An integer of any size: gamma code of its zigzag form."""
        self.write_gamma(value * 2 if value >= 0 else -value * 2 - 1)

    def append(self, other: BitWriter) -> None:
        """The bits of another writer after these."""
        self._chunks += other._chunks

    def __len__(self) -> int:
        return sum(map(len, self._chunks))

    def to_bytes(self) -> bytes:
        """The stream, padded with zeros to a whole byte."""
        text = "".join(self._chunks)
        size = (len(text) + 7) // 8
        return int(text.ljust(8 * size, "0"), 2).to_bytes(size, "big") if size else b""


class BitReader:
    """Reads what `BitWriter` wrote. Raises `CodecError` at the end of the data."""

    def __init__(self, data: bytes, start: int = 0) -> None:
        self._data = data
        self._position = 8 * start
        self._end = 8 * len(data)

    def read(self, width: int) -> int:
        first, last = self._position, self._position + width
        if last > self._end:
            raise CodecError("the payload ends too early: the record is damaged")
        self._position = last
        piece = int.from_bytes(self._data[first >> 3 : (last + 7) >> 3], "big")
        return (piece >> (-last & 7)) & ((1 << width) - 1)

    def read_gamma(self) -> int:
        zeros = 0
        while not self.read(1):
            zeros += 1
            if zeros > 64:  # nothing that is written is larger, so these are not our bytes
                raise CodecError("the payload holds an impossible number: the record is damaged")
        return ((1 << zeros) | self.read(zeros)) - 1

    def read_signed(self) -> int:
        value = self.read_gamma()
        return value >> 1 if not value & 1 else -((value + 1) >> 1)

    def byte_position(self) -> int:
        """Index of the first whole byte not yet touched."""
        return (self._position + 7) >> 3
