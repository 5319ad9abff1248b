"""What a file holds beside its density, in few bytes: words of the header, and occupancies as numbers.

The occupancies become numbers where `augmentation.Printed` prints them to the last byte as VASP does. Otherwise, and
where a tolerance of zero asks for it, the extras are packed as they are (`formats.pack_extras`). The first byte tells
the two kinds apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from .. import augmentation
from ..augmentation import Printed
from ..density import Crystal
from ..errors import CodecError, FormatError
from ..formats.extras import pack_extras, unpack_extras
from . import occupancies
from .bits import BitReader, BitWriter
from .occupancies import Occupancies

NUMBERS = 2  # first byte of extras with occupancies as numbers
#: Below this tolerance the error of printing seven digits counts.
SMALLEST_TOLERANCE = 1e-6
_PRINTED = 1e-7  # what printing changes at most, relative to the largest number
_COMMENT = "unknown system"  # what VASP writes where the INCAR has no comment
_WIDTH = 40  # columns of VASP's comment
_MOMENT_DIGITS = 12


def default_tolerance(tolerance: float) -> float:
    """Largest error of an occupancy that a tolerance of the grid allows, relative to the largest of atom and channel.

    It is half of the grid's tolerance. Independent, uniform errors of the occupancies that do not turn then change the
    charge on an atom by no more than the grid's tolerance does (docs/science/codec.md).
    """
    return tolerance / 2


@dataclass(frozen=True)
class Packed:
    """Extras as bytes. tolerance, error: of the occupancies; None where there are none, or where their text is kept."""

    data: bytes
    tolerance: float | None = None
    error: float | None = None


def pack(
    extras: Mapping[str, Any], crystal: Crystal, channels: Sequence[str], payload: bytes, tolerance: float
) -> Packed:
    """The extras of a density as bytes for its record. Occupancies keep the tolerance; 0 keeps their text.

    payload: that of the same record, which a decoder needs for these bytes. Raises `FormatError` as `pack_extras` does.
    """
    line_end = str(extras.get("line_end", "\n"))
    printed = _printed(extras.get("after"), len(crystal), channels, line_end) if tolerance else None
    if printed is None or tolerance < SMALLEST_TOLERANCE:
        return Packed(pack_extras(extras))
    original = _occupancies(printed)
    try:
        data = _write(extras, crystal, printed, original, tolerance - _PRINTED, payload)
        decoded = unpack(data, crystal, channels, payload)
        back = _printed(decoded.get("after"), len(crystal), channels, line_end)
    except CodecError:
        return Packed(pack_extras(extras))
    found = float("inf") if back is None else occupancies.error(original, _occupancies(back))
    same = {**decoded, "after": None} == {**extras, "after": None}
    if back is None or not (found <= tolerance and same and _lines(back) == _lines(printed)):
        return Packed(pack_extras(extras))
    return Packed(data, tolerance, found)


def unpack(data: bytes, crystal: Crystal, channels: Sequence[str], payload: bytes) -> dict[str, Any]:
    """The extras of a record. Raises `FormatError` or `CodecError` for damaged bytes, or bytes of a later version."""
    if data[:1] != bytes([NUMBERS]):
        return unpack_extras(data)
    source = BitReader(data, 1)
    extras = _read_words(source, crystal)
    line_end = extras.get("line_end", "\n")
    moments = [_read_moments(source, len(crystal)) if source.read(1) else () for _ in channels]
    found = occupancies.read(source, data, crystal, len(channels), _groups(payload))
    extras["after"] = {
        name: Printed(found.real[i], found.imaginary[i] if found.imaginary else (), moments[i]).to_text(line_end)
        for i, name in enumerate(channels)
    }
    return extras


def quality(original: Mapping[str, Any], decoded: Mapping[str, Any], n_atoms: int) -> float | None:
    """Largest error of the occupancies in some extras, relative to the largest of atom and channel.

    None where there are no occupancies, or where their text is not VASP's.
    """
    found = []
    for extras in (original, decoded):
        after = extras.get("after")
        names = list(after) if isinstance(after, Mapping) else []
        printed = _printed(after, n_atoms, names, str(extras.get("line_end", "\n")))
        if not printed:
            return None
        found.append(_occupancies(printed))
    return occupancies.error(found[0], found[1])


def _printed(after: Any, n_atoms: int, channels: Sequence[str], line_end: str) -> list[Printed] | None:
    """What VASP prints after each channel, as numbers. None where anything else stands there."""
    if not isinstance(after, Mapping) or set(after) != set(channels) or not n_atoms or line_end not in ("\n", "\r\n"):
        return None
    found = [augmentation.parse(str(after[name]), n_atoms, line_end) for name in channels]
    printed = [one for one in found if one is not None]
    if len(printed) < len(found) or len({(bool(one.imaginary), tuple(map(len, one.real))) for one in printed}) != 1:
        return None
    if any(tuple(map(len, one.real)) != tuple(map(len, one.imaginary)) for one in printed if one.imaginary):
        return None
    return printed


def _lines(printed: Sequence[Printed]) -> list[str]:
    """The lines of the moments."""
    return [Printed((), (), one.moments).to_text() for one in printed]


def _occupancies(printed: Sequence[Printed]) -> Occupancies:
    imaginary = tuple(one.imaginary for one in printed) if printed[0].imaginary else ()
    return Occupancies(tuple(one.real for one in printed), imaginary)


def _groups(payload: bytes) -> list[Any]:
    """The groups of a payload's first and last channel, where its codec has groups."""
    from . import groups_of

    groups = groups_of(payload)
    return [groups[0], groups[-1]] if groups else []


# --- writing ---------------------------------------------------------------------------------------------------------


def _write(
    extras: Mapping[str, Any],
    crystal: Crystal,
    printed: Sequence[Printed],
    original: Occupancies,
    tolerance: float,
    payload: bytes,
) -> bytes:
    out = BitWriter()
    out.write(NUMBERS, 8)
    _write_words(out, extras, crystal)
    for one in printed:
        out.write(int(bool(one.moments)), 1)
        if one.moments:
            _write_moments(out, one.moments)
    coded = occupancies.write(out, original, crystal, tolerance, _groups(payload))
    return out.to_bytes() + coded


def _write_words(out: BitWriter, extras: Mapping[str, Any], crystal: Crystal) -> None:
    """Write comment, line end and species, and everything else as packed JSON."""
    rest = {key: value for key, value in extras.items() if key != "after"}
    comment = rest.get("comment")
    kind = _comment_kind(comment)
    out.write(kind, 2)
    if kind:
        del rest["comment"]
    if kind > 1:
        assert isinstance(comment, str)  # what `_comment_kind` says of these kinds
        _write_text(out, comment.rstrip(" ") if kind == 2 else comment)
    crlf = rest.get("line_end") == "\r\n"
    out.write(int(crlf), 1)
    if crlf:
        del rest["line_end"]
    species = rest.get("species")
    kind = 1 if species == _species(crystal) else 2 if _is_labels(species, crystal) else 0
    out.write(kind, 2)
    if kind:
        del rest["species"]
    if kind == 2:
        assert species is not None
        out.write_gamma(len(species) - 1)
        for label, count in species:
            _write_text(out, label)
            out.write_gamma(count)
    out.write(int(bool(rest)), 1)
    if rest:
        packed = pack_extras(rest)
        out.write_gamma(len(packed))
        for byte in packed:
            out.write(byte, 8)


def _comment_kind(comment: Any) -> int:
    """0: a comment without a short form; 1: VASP's own; 2: padded with blanks as VASP does; 3: any other."""
    if not isinstance(comment, str) or not _is_plain(comment):
        return 0
    if comment == _COMMENT.ljust(_WIDTH):
        return 1
    return 2 if len(comment) == _WIDTH and comment.rstrip(" ").ljust(_WIDTH) == comment else 3


_LONGEST = 255


def _is_plain(text: Any) -> bool:
    return isinstance(text, str) and text.isascii() and len(text) <= _LONGEST


def _species(crystal: Crystal) -> list[list[Any]]:
    return [[symbol, len(list(group))] for symbol, group in groupby(crystal.symbols)]


def _is_labels(species: Any, crystal: Crystal) -> bool:
    pairs = species if isinstance(species, list) else []
    return bool(pairs) and all(
        isinstance(pair, list) and len(pair) == 2 and _is_plain(pair[0]) and type(pair[1]) is int and pair[1] >= 0
        for pair in pairs
    )


def _write_text(out: BitWriter, text: str) -> None:
    out.write_gamma(len(text))
    for character in text:
        out.write(ord(character), 7)


def _write_moments(out: BitWriter, moments: Sequence[float]) -> None:
    """Write runs of equal numbers. `1` and a number, or `0` for the last one with the other sign; the length."""
    before = 0.0
    for value, run in groupby(moments):
        opposite = value == -before
        out.write(int(not opposite), 1)
        if not opposite:
            _write_decimal(out, value)
        out.write_gamma(len(list(run)) - 1)
        before = value


def _write_decimal(out: BitWriter, value: float) -> None:
    """Write sign, exponent, number of digits less one, and digits: 0.DIGITS times ten to the exponent."""
    mantissa, _, exponent = f"{abs(value):.{_MOMENT_DIGITS - 1}e}".partition("e")
    digits = (mantissa[0] + mantissa[2:]).rstrip("0") or "0"
    out.write(int(value < 0), 1)
    out.write_signed(int(exponent) + 1 if value else 0)
    out.write(len(digits) - 1, 4)
    out.write(int(digits), (10 ** len(digits) - 1).bit_length())


# --- reading ---------------------------------------------------------------------------------------------------------


def _read_words(source: BitReader, crystal: Crystal) -> dict[str, Any]:
    extras: dict[str, Any] = {}
    kind = source.read(2)
    if kind:
        text = _COMMENT if kind == 1 else _read_text(source)
        extras["comment"] = text.ljust(_WIDTH) if kind < 3 else text
    if source.read(1):
        extras["line_end"] = "\r\n"
    kind = source.read(2)
    if kind == 3:
        raise CodecError("the record holds an unknown list of species: it is damaged")
    if kind == 1:
        extras["species"] = _species(crystal)
    if kind == 2:
        extras["species"] = [[_read_text(source), source.read_gamma()] for _ in range(source.read_gamma() + 1)]
    if source.read(1):
        size = source.read_gamma()
        rest = unpack_extras(source.read(8 * size).to_bytes(size, "big"))
        if extras.keys() & rest.keys() or "after" in rest:
            raise FormatError("packed extras are damaged: a word is there twice")
        extras = {**rest, **extras}
    return extras


def _read_text(source: BitReader) -> str:
    size = source.read_gamma()
    if size > _LONGEST:
        raise CodecError("the record holds an impossible text: it is damaged")
    return "".join(chr(source.read(7)) for _ in range(size))


def _read_moments(source: BitReader, n_atoms: int) -> tuple[float, ...]:
    moments: list[float] = []
    value = 0.0
    while len(moments) < n_atoms:
        value = _read_decimal(source) if source.read(1) else 0.0 - value
        size = source.read_gamma() + 1
        if size > n_atoms - len(moments):
            raise CodecError("the record holds more moments than atoms: it is damaged")
        moments += [value] * size
    return tuple(moments)


def _read_decimal(source: BitReader) -> float:
    sign = "-" if source.read(1) else ""
    exponent = source.read_signed()
    size = source.read(4) + 1
    digits = source.read((10**size - 1).bit_length())
    if abs(exponent) > 300 or digits >= 10**size:
        raise CodecError("the record holds an impossible number: it is damaged")
    return float(f"{sign}0.{digits:0{size}d}e{exponent}")
