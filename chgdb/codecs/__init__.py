"""Codecs: a Density to the bytes of a record and back. One file a codec.

A payload holds all it needs but a prior: grid, crystal, channels and coefficients. Its first byte is the `CODEC_ID` of
the module that wrote it. A codec is a module with

    CODEC_ID: int                                                   unique, never reused; 128 to 255 in other packages
    encode(density, tolerance, prior=None, **options) -> bytes
    decode(payload, prior=None, grid=None) -> Density
    header(payload) -> Header

and, if its payloads hold groups of symmetry operations that the occupancies can use (`extras`),

    groups(payload) -> list[SpaceGroup]                             of the coded channels, in their order

A line in the tables below names it, or an entry point of the group `chgdb.codecs` in another package. Stores with
records of another package's codec decode where that package is installed. `chgdb.testing.check_codec` tests a codec.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..comparison import Quality, measure
from ..density import Crystal, Density, check_density
from ..errors import CodecError
from ..grids import check_memory
from ..limits import most_values
from ..plugins import Registry
from .spectra import forward

if TYPE_CHECKING:
    from ..promolecule import Prior
    from ..symmetry import SpaceGroup

_MAX_VALUE = 1e30  # e/Å^3; the square of a value must not overflow

#: Largest NMAE of a record unless the caller asks otherwise: 0.01 %.
DEFAULT_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Header:
    """What a payload says without decoding the grid.

    Attributes
    ----------
    codec : str
        Name of the codec.
    crystal : Crystal
        Cell and atoms, exact.
    grid : tuple[int, int, int]
        Grid points along each lattice vector.
    channels : tuple[str, ...]
        Names of the channels.
    prior_id : int
        Number of the prior that decoding needs; 0 where it needs none.
    """

    codec: str
    crystal: Crystal
    grid: tuple[int, int, int]
    channels: tuple[str, ...]
    prior_id: int


@dataclass(frozen=True)
class Encoded:
    """A payload with its error, measured by decoding it.

    Attributes
    ----------
    payload : bytes
        Bytes of a record.
    tolerance : float
        Largest NMAE that was allowed for each channel, a fraction; 0.0 where the payload is lossless.
    quality : Quality
        Errors of the decoded values.
    """

    payload: bytes
    tolerance: float
    quality: Quality


#: The Fourier codec is tried where what `fourier.edge` finds is at most this many times the tolerance. Symmetrised
#: densities on grids that cut their symmetry off have some 10, all-electron densities 1000 and more.
_TRIED = 30


#: How much time encoding may take -> whether the Fourier codec tries predictions.
EFFORTS: dict[str, bool | None] = {"fast": False, "normal": None, "best": True}


def check_effort(effort: str) -> None:
    """Raises `CodecError` for an effort that is not in `EFFORTS`."""
    if effort not in EFFORTS:
        raise CodecError(f"effort is {effort!r}; expected {', '.join(map(repr, EFFORTS))}")


def encode(
    density: Density,
    tolerance: float = DEFAULT_TOLERANCE,
    *,
    codec: str = "auto",
    prior: Prior | None = None,
    effort: str = "normal",
    **options: Any,
) -> Encoded:
    """Encode a density and verify it: the bytes are decoded again, and the NMAE of every channel is measured.

    Parameters
    ----------
    density : Density
        The density to encode.
    tolerance : float
        Largest NMAE that is allowed for each channel, a fraction; 0 asks for the `lossless` codec.
    codec : str
        A name, or "auto": `fourier` where the grid resolves the density, `realspace` for all-electron files. In
        between, "auto" takes the smaller of both; it tries `realspace` where an estimate says that it may win, and
        always where `effort` is "best".
    prior : Prior | None
        Form factors that the Fourier codec subtracts where that makes the payload smaller.
    effort : str
        "fast" gives a record as soon as possible. "normal" gives a smaller one: multipoles on the atoms predict its
        coefficients. It takes up to fifteen times as long, some seconds at most. "best" tries that for large cells
        without symmetry, too, which can take minutes.
    **options
        Options of the codec, passed to its `encode`.

    Returns
    -------
    Encoded

    Raises
    ------
    DensityError
        For a `ScalarField`: records are of total densities.
    CodecError
        If the tolerance is not a number from 0 to 1, the codec or the effort does not exist, or the decoded values
        miss the tolerance.
    """
    check_density(density, "a store holds total densities; pack those that it was made of")
    if not 0 <= tolerance < 1:
        raise CodecError(f"tolerance {tolerance!r} is not a fraction from 0 to 1; 1e-4 means 0.01 %")
    check_effort(effort)
    largest = max(float(max(values.max(), -values.min())) for values in density.channels.values())
    if tolerance and largest > _MAX_VALUE:
        raise CodecError(
            f"a value of {largest:.3g} e/Å^3 is beyond all codecs but the lossless one: pack it with --lossless "
            "(tolerance=0 in Python)"
        )
    spectrum: list[np.ndarray] = []
    if not tolerance:
        candidates = ["lossless"]
    elif codec == "auto":
        spectrum = [forward(density.total)]
        edge = get("fourier").edge(density, spectrum[0])
        candidates = ["fourier"] * (edge <= _TRIED * tolerance) + ["realspace"] * (edge > tolerance)
        if "fourier" not in candidates:
            spectrum.clear()
    else:
        candidates = [codec]
    payloads: list[bytes] = []
    refusals: list[CodecError] = []
    for name in candidates:
        if name == "realspace" and payloads and effort != "best" and _is_hopeless(density, tolerance, payloads[0]):
            continue
        try:
            given = {"predict": EFFORTS[effort], **options, "spectrum": spectrum} if name == "fourier" else options
            payloads.append(get(name).encode(density, tolerance, prior=prior, **given))
        except CodecError as error:  # a cell or tolerance beyond one codec may be within another
            refusals.append(error)
            if codec == "auto" and candidates == ["realspace"]:
                candidates.append("fourier")
    if not payloads:
        raise refusals[0]
    payload = min(payloads, key=len)
    size = density.total.size * len(density.channels)
    quality = measure(density, decode(payload, prior=prior, max_values=size))
    worst = max(quality.nmae.values())
    if not worst <= tolerance:
        raise CodecError(
            f"the {_module_of(payload).__name__.rsplit('.', 1)[-1]} codec reaches an NMAE of {worst:.3g} where "
            f"{tolerance:.3g} was asked for: pack it with --lossless (tolerance=0 in Python)"
        )
    return Encoded(payload, tolerance, quality)


def _is_hopeless(density: Density, tolerance: float, payload: bytes) -> bool:
    """Whether the real-space codec, which takes longer than the other, is not expected to take fewer bytes."""
    return len(payload) < get("realspace").least_bytes(density, tolerance, groups_of(payload))


def decode(
    payload: bytes,
    *,
    prior: Prior | None = None,
    grid: tuple[int, int, int] | None = None,
    max_values: int | None = None,
) -> Density:
    """Density of a payload, on its native grid or straight from the coefficients on another grid.

    Parameters
    ----------
    payload : bytes
        Bytes of a record.
    prior : Prior | None
        Form factors of the store that the record is in; needed where `Header.prior_id` is not 0.
    grid : tuple[int, int, int] | None
        Grid points along each lattice vector; the native grid unless given.
    max_values : int | None
        Maximum of grid points times channels that the payload may claim, because a few bytes can stand for a constant
        density on a grid that fills the memory. The default is 2^24, or 2^14 for each byte if that is more.

    Returns
    -------
    Density

    Raises
    ------
    CodecError
        For bytes that are not a payload, a codec of a later version, a missing or different prior, or a claim beyond
        `max_values`.
    DensityError
        For a `grid` beyond the memory of this machine.
    """
    module = _module_of(payload)
    claimed = module.header(payload)
    values = prod(claimed.grid) * len(claimed.channels)
    if values > (most_values(len(payload)) if max_values is None else max_values):
        shape = " x ".join(map(str, claimed.grid))
        raise CodecError(
            f"the payload of {len(payload)} bytes claims {values} values on a grid of {shape} points: it is damaged "
            f"(in Python codecs.decode(..., max_values={values}) decodes it)"
        )
    if grid is not None:
        check_memory(grid, len(claimed.channels))
    try:
        return module.decode(payload, prior=prior, grid=grid)
    except MemoryError as error:  # seldom, a damaged record claims as much
        raise CodecError(f"there is not enough memory to decode the record: {error}") from None


def header(payload: bytes) -> Header:
    """Crystal, grid and channels of a payload, in microseconds.

    Parameters
    ----------
    payload : bytes
        Bytes of a record.

    Returns
    -------
    Header

    Raises
    ------
    CodecError
        For bytes that are not a payload, damaged bytes, or a codec of a later version.
    """
    return _module_of(payload).header(payload)


def groups_of(payload: bytes) -> list[SpaceGroup]:
    """The groups of symmetry operations in a payload, channel by channel. Empty where its codec has none.

    Raises `CodecError` for damaged bytes.
    """
    own = getattr(_module_of(payload), "groups", None)
    return [] if own is None else own(payload)


#: First byte of a payload -> name of chgdb's codec. A codec is imported when it is used.
_NUMBERS = {1: "lossless", 2: "fourier", 3: "realspace", 4: "fourier"}
REGISTRY = Registry(
    kind="codec",
    group="chgdb.codecs",
    package=__name__,
    table={name: name for name in sorted(set(_NUMBERS.values()))},
    error=CodecError,
    required=("CODEC_ID", "encode", "decode", "header"),
)


def get(name: str) -> ModuleType:
    """The module of a codec. Raises `CodecError` for an unknown name, with the names there are."""
    return REGISTRY.get(name)


def _module_of(payload: bytes) -> ModuleType:
    if not payload:
        raise CodecError("the payload is empty")
    number = payload[0]
    if number in _NUMBERS:
        return get(_NUMBERS[number])
    for _, module in REGISTRY.others() if number >= 128 else ():
        if number == module.CODEC_ID:
            return module
    raise CodecError(
        f"codec number {number} is unknown: the record is damaged, or from a later version of chgdb or a package that "
        "is not installed"
    )
