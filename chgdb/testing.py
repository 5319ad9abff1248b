"""Contract tests for formats, codecs and models of other packages: what chgdb relies on, checked on small inputs.

A package's own tests call the check of its kind:

    import my_package.vtk
    from chgdb.testing import check_format

    def test_the_contract():
        check_format(my_package.vtk)

Every check raises `AssertionError` with what is wrong. chgdb's own modules pass the same checks.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from .comparison import measure
from .density import Crystal, Density
from .errors import CodecError, FormatError

if not __debug__:
    raise ImportError("the checks of chgdb.testing are assertions, which python -O leaves out: run without -O")

__all__ = ["check_codec", "check_format", "check_model", "densities"]

_SPIN = "magnetization"
#: A title of two lines, as other programs may make one: a file has room for the first.
_COMMENT = "density difference: a title\nand more"
_CENTRED = [[0, 0, 0], [0.5, 0.5, 0.5]]


def densities() -> list[Density]:
    """Smooth densities of three small crystals: cubic, triclinic with a grid of three lengths, spin-polarised."""
    rocksalt = _crystal(np.eye(3) * 5.64, _CENTRED, [11, 17])
    skew = _crystal([[4.0, 0, 0], [0.7, 4.5, 0], [-0.4, 0.9, 5.2]], [[0.1, 0.2, 0.3], [0.6, 0.8, 0.45]], [14, 8])
    iron = _crystal(np.eye(3) * 2.87, _CENTRED, [26, 26])
    total = _bumps(iron, (14, 14, 14))
    return [
        Density(rocksalt, {"total": _bumps(rocksalt, (24, 24, 24))}),
        Density(skew, {"total": _bumps(skew, (16, 18, 20))}),
        Density(iron, {"total": total, _SPIN: 0.3 * total}),
    ]


def _crystal(cell: Any, positions: Any, numbers: Any) -> Crystal:
    return Crystal(np.array(cell, float), np.array(positions, float), np.array(numbers, int))


def _bumps(crystal: Crystal, grid: tuple[int, int, int]) -> np.ndarray:
    """(nx, ny, nz) float64: a few waves around every atom, positive."""
    points = np.stack(np.meshgrid(*(np.arange(n) / n for n in grid), indexing="ij"), axis=-1)
    total = np.zeros(grid)
    for position, number in zip(crystal.positions, crystal.numbers, strict=True):
        wave = np.cos(2 * np.pi * (points - position)).sum(axis=-1)
        total += number * np.exp(1.5 * (wave - 3))
    return total / crystal.volume


def check_format(module: ModuleType, *, accuracy: float = 1e-5, channels: Sequence[str] = ("total",)) -> None:
    """Check a module against the contract of `chgdb.formats`.

    Parameters
    ----------
    module : module
        With `NAMES`, `recognises`, `read` and, unless the format is only read, `write`.
    accuracy : float
        Largest NMAE between a density written and read again.
    channels : sequence of str
        Channels that the format keeps; what it does not keep is not written.

    Raises
    ------
    AssertionError
        If the module breaks the contract.
    """
    from .formats.streams import open_reader

    assert module.NAMES, "NAMES must have a pattern of file names"
    assert all(isinstance(pattern, str) for pattern in module.NAMES), "NAMES holds texts"
    assert not module.recognises(b""), "recognises() must be False for an empty file"
    assert not module.recognises(bytes(range(256)) * 16), "recognises() must be False for arbitrary bytes"
    if not hasattr(module, "write"):
        return
    with tempfile.TemporaryDirectory(prefix="chgdb-") as folder:
        path = Path(folder) / "density"
        for density in densities():
            kept = {name: values for name, values in density.channels.items() if name in channels}
            written = Density(density.crystal, kept, {"comment": _COMMENT})
            with open(path, "wb") as stream:
                module.write(stream, written)
            content = path.read_bytes()
            assert module.recognises(content[:4096]), "recognises() must be True for what write() writes"
            with open_reader(path) as reader:
                again = module.read(reader)
            _check_same(written, again, accuracy)
            comment = str(again.extras.get("comment", _COMMENT))
            assert comment.splitlines()[:1] == _COMMENT.splitlines()[:1], f"the comment came back as {comment!r}"
            for length in (0, 1, 20, len(content) // 2):
                path.write_bytes(content[:length])
                try:
                    with open_reader(path) as reader:
                        module.read(reader)
                except FormatError:
                    continue
                raise AssertionError(f"read() must raise FormatError for a file that ends after {length} bytes")


def _check_same(density: Density, again: Density, accuracy: float) -> None:
    assert tuple(again.channels) == tuple(density.channels), f"channels {tuple(again.channels)} came back"
    assert again.grid == density.grid, f"the grid {density.grid} came back as {again.grid}"
    assert np.allclose(again.crystal.cell, density.crystal.cell, atol=1e-5), "the cell came back changed"
    assert np.array_equal(again.crystal.numbers, density.crystal.numbers), (
        "the elements came back changed; a format that has no place for atoms is only read, without a write()"
    )
    moved = again.crystal.positions - density.crystal.positions
    assert np.allclose(moved - np.rint(moved), 0, atol=1e-5), "the positions came back changed"
    worst = max(measure(density, again).nmae.values())
    assert worst <= accuracy, f"the values came back with an NMAE of {worst:.2g}, more than {accuracy:g}"


def check_codec(module: ModuleType, *, tolerance: float = 1e-4, other_package: bool = True) -> None:
    """Check a module against the contract of `chgdb.codecs`.

    Parameters
    ----------
    module : module
        With `CODEC_ID`, `encode`, `decode` and `header`.
    tolerance : float
        Largest NMAE that is asked for; 0 for a lossless codec.
    other_package : bool
        Whether the codec is of another package than chgdb: its `CODEC_ID` is then 128 to 255.

    Raises
    ------
    AssertionError
        If the module breaks the contract.
    """
    low = 128 if other_package else 1
    assert type(module.CODEC_ID) is int, "CODEC_ID is a whole number"
    assert low <= module.CODEC_ID <= 255, f"CODEC_ID must be {low} to 255, and is {module.CODEC_ID}"
    for density in densities():
        payload = module.encode(density, tolerance)
        assert isinstance(payload, bytes), "encode() gives bytes"
        assert payload[0] == module.CODEC_ID, "the first byte of a payload is CODEC_ID"
        assert module.encode(density, tolerance) == payload, "the same density must give the same bytes"
        header = module.header(payload)
        assert header.grid == density.grid, "header() must give the grid"
        assert tuple(header.channels) == tuple(density.channels), "header() must give the channels"
        assert header.crystal == density.crystal or np.allclose(header.crystal.cell, density.crystal.cell), (
            "the crystal"
        )
        _check_same(density, module.decode(payload), tolerance)
        for length in sorted({1, 2, len(payload) // 2, len(payload) - 1}):
            try:
                module.decode(payload[:length])
            except CodecError:
                continue
            raise AssertionError(f"decode() must raise CodecError for {length} of {len(payload)} bytes")


def check_model(module: ModuleType, *, target: str = "bulk_modulus", materials: int = 60) -> None:
    """Check a module against the contract of `chgdb.models`, on random inputs of the shapes that it asks for.

    Parameters
    ----------
    module : module
        With `NAME` and a class `Model`; see `chgdb.models.Learner`.
    target : str
        A name of `chgdb.targets.TARGETS` that the model can learn.
    materials : int
        Number of rows to train with.

    Raises
    ------
    AssertionError
        If the module breaks the contract.
    """
    from .models import INPUTS

    model = module.Model
    assert module.NAME == model.NAME, "NAME of the module and of its Model differ"
    assert isinstance(model.TITLE, str), "TITLE is a text"
    assert type(model.VERSION) is int, "VERSION is a whole number"
    unknown = set(model.INPUTS) - set(INPUTS)
    assert not unknown, f"INPUTS names {', '.join(sorted(unknown))}, which chgdb does not compute"
    rows, values = _random_rows(model.INPUTS, materials)
    labels = {target: np.where(np.arange(materials) % 7 == 3, np.nan, values)}
    validation = np.arange(materials) % 10 == 0
    first, second = model(), model()
    for learner in (first, second):
        learner.fit(rows, labels, validation=validation, seed=1)
    said = _check_predictions(first, rows, target)
    assert np.allclose(_check_predictions(second, rows, target), said), "the same seed must give the same model"
    with tempfile.TemporaryDirectory(prefix="chgdb-") as folder:
        first.save(Path(folder))
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        assert files, "save() wrote no file"
        assert not any(path.read_bytes()[:1] == b"\x80" for path in files), "weights must not be pickled"
        loaded = model.load(Path(folder))
        assert np.allclose(_check_predictions(loaded, rows, target), said, rtol=1e-4), "load() gives another model"


def _check_predictions(learner: Any, rows: Any, target: str) -> np.ndarray:
    mean, std = learner.predict(rows)
    for name, values in (("mean", mean[target]), ("std", std[target])):
        assert np.shape(values) == (len(rows),), f"the {name} has the shape {np.shape(values)}, not ({len(rows)},)"
        assert np.isfinite(values).all(), f"the {name} has values that are not finite"
    assert (std[target] >= 0).all(), "a standard deviation is negative"
    return mean[target]


def _random_rows(inputs: Sequence[str], materials: int) -> tuple[Any, np.ndarray]:
    """Rows with random inputs, and labels on the scale of `Target.forward` that depend on the first of them."""
    from .features import names, structure
    from .features.composition import MAGPIE_NAMES
    from .models import Rows
    from .models.applicability import DESCRIPTORS

    rng = np.random.default_rng(0)
    crystals = tuple(
        _crystal(np.eye(3) * (3 + 2 * rng.random()), _CENTRED, rng.choice([3, 8, 11, 14, 17, 26], 2))
        for _ in range(materials)
    )
    shapes = {
        "magpie": (len(MAGPIE_NAMES),),
        "structure": np.shape(structure(crystals[0])),
        "density": (len(names()),),
        "latent": (16, 16, 16, 16),
        "cubes": (8, 20, 20, 20),
        "applicability": (len(DESCRIPTORS),),
    }
    values = {name: rng.normal(size=(materials, *shapes[name])).astype(np.float32) for name in inputs}
    first = values[inputs[0]].reshape(materials, -1)[:, 0] if inputs else np.zeros(materials)
    return Rows(tuple(f"material-{i}" for i in range(materials)), crystals, values), 4 + 0.5 * first.astype(float)
