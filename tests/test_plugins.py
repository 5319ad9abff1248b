"""Formats, codecs and models of another package: found, used and held to the same contract as chgdb's own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from textwrap import dedent

import numpy as np
import pytest

from chgdb import Crystal, codecs, formats, models
from chgdb.codecs import lossless
from chgdb.formats import chgcar, cube
from chgdb.testing import check_codec, check_format, check_model

#: A package with one module of each kind, as a user would write it.
PLAIN_FORMAT = '''
"""Numbers in a text file, one on a line, after the crystal as JSON."""
import json
import numpy as np
from chgdb.density import Crystal, Density
NAMES = ("*.plain", "CHGCAR.plain")
def recognises(head):
    return head.startswith(b"plain density ")
def write(stream, density):
    c = density.crystal
    facts = {name: getattr(c, name).tolist() for name in ("cell", "positions", "numbers")} | {"grid": density.grid}
    stream.write(b"plain density " + json.dumps(facts).encode() + b"\\n")
    stream.writelines(b"%.9e\\n" % value for value in density.total.ravel().tolist())
def read(reader, *, elements=None):
    try:
        facts = json.loads(reader.readline().removeprefix(b"plain density "))
        values = [float(reader.readline()) for _ in range(int(np.prod(facts["grid"])))]
        crystal = Crystal(facts["cell"], facts["positions"], facts["numbers"])
        return Density(crystal, {"total": np.array(values).reshape(facts["grid"])})
    except (ValueError, KeyError) as error:
        raise reader.error(f"not a plain density ({error})", 1) from None
'''
PLAIN_CODEC = '''
"""chgdb's lossless codec under another number."""
from chgdb.codecs import lossless
from chgdb.errors import CodecError
CODEC_ID = 200
def _inner(payload):
    if payload[:1] != b"\\xc8":
        raise CodecError("not of this codec")
    return bytes([lossless.CODEC_ID]) + payload[1:]
def encode(density, tolerance, prior=None, **options):
    return b"\\xc8" + lossless.encode(density, 0)[1:]
def decode(payload, prior=None, grid=None):
    return lossless.decode(_inner(payload), prior=prior, grid=grid)
def header(payload):
    return lossless.header(_inner(payload))
'''
PLAIN_MODEL = '''
"""The mean of the labels."""
import json
import numpy as np
NAME = "mean"
class Model:
    NAME, TITLE, INPUTS, VERSION = "mean", "mean of the labels", ("magpie",), 1
    def fit(self, rows, targets, *, validation, seed=0, progress=None):
        self.means = {name: float(np.nanmean(values)) for name, values in targets.items()}
    def predict(self, rows):
        return tuple({n: np.full(len(rows), v * f) for n, v in self.means.items()} for f in (1.0, 0.0))
    def save(self, folder):
        (folder / "means.json").write_text(json.dumps(self.means))
    @classmethod
    def load(cls, folder):
        found = cls()
        found.means = json.loads((folder / "means.json").read_text())
        return found
'''
ENTRY_POINTS = """
[chgdb.formats]
plain = plain_chgdb.format
broken = plain_chgdb.not_there
[chgdb.codecs]
plain = plain_chgdb.codec
[chgdb.models]
mean = plain_chgdb.model
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of installed packages with one in it."""
    folder = tmp_path_factory.mktemp("site")
    package, facts = folder / "plain_chgdb", folder / "plain_chgdb-1.0.dist-info"
    package.mkdir()
    facts.mkdir()
    for name, text in {"__init__": "", "format": PLAIN_FORMAT, "codec": PLAIN_CODEC, "model": PLAIN_MODEL}.items():
        (package / f"{name}.py").write_text(text)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: plain-chgdb\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(ENTRY_POINTS)
    return folder


def run(site: Path, program: str, folder: Path) -> str:
    """What a program prints where the package is installed."""
    done = subprocess.run(
        [sys.executable, "-c", dedent(program)], env=os.environ | {"PYTHONPATH": str(site)}, cwd=folder,
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_another_package_keeps_the_contract(site: Path, tmp_path: Path) -> None:
    program = """
        from chgdb.testing import check_codec, check_format, check_model
        import plain_chgdb.codec, plain_chgdb.format, plain_chgdb.model
        check_format(plain_chgdb.format)
        check_codec(plain_chgdb.codec)
        check_model(plain_chgdb.model)
    """
    run(site, program, tmp_path)


def test_what_another_package_offers_is_used_like_our_own(site: Path, tmp_path: Path) -> None:
    program = """
        import warnings
        import chgdb, chgdb.models, chgdb.codecs, chgdb.formats
        from chgdb.testing import densities
        warnings.simplefilter("ignore")  # of the broken one
        density = densities()[0]
        chgdb.write("NaCl.plain", density)
        print(chgdb.read("NaCl.plain") .crystal.formula)
        chgdb.write("other.name", density, format="plain")
        chgdb.write("NaCl.npz", chgdb.read("NaCl.plain"))
        print(chgdb.models.names()[-1], chgdb.models.get("mean").NAME)
        encoded = chgdb.codecs.encode(density, codec="plain")
        print(encoded.payload[0], chgdb.codecs.header(encoded.payload).grid)
        print(chgdb.read("other.name").grid)  # by content
        warnings.simplefilter("error")
        for use in (lambda: chgdb.read("other.name"), lambda: chgdb.formats.REGISTRY.get("broken")):
            try:
                use()
            except (chgdb.ChgdbError, Warning) as error:
                print(type(error).__name__, error)
    """
    lines = run(site, program, tmp_path).splitlines()
    assert lines[:4] == ["NaCl", "mean mean", "200 (24, 24, 24)", "(24, 24, 24)"]
    says = "the format 'broken' of the package plain-chgdb cannot be imported (ModuleNotFoundError"
    assert lines[4].startswith(f"PluginWarning {says}")
    assert lines[5].startswith(f"FormatError {says}")


def test_commands_write_what_another_package_offers(site: Path, tmp_path: Path) -> None:
    program = """
        import warnings
        from chgdb_cli.main import _exit_code
        warnings.simplefilter("ignore")  # of the broken one
        print(_exit_code(["fetch", "mp-149", "--decode", "--format", "plain", "-o", "fetched/"]))
        print(_exit_code(["estimate", "mp-149", "--spacing", "0.5", "--format", "plain", "-o", "estimated/"]))
        for name in ("absent", "mp_json"):
            print(_exit_code(["fetch", "mp-149", "--decode", "--format", name, "-o", "no/"]))
    """
    printed = run(site, program, tmp_path).splitlines()
    assert [line for line in printed if line.isdigit()] == ["0", "0", "2", "2"]
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*")) == [
        "estimated/mp-149.plain", "fetched/mp-149.plain",
    ]  # fmt: skip


def test_formats_of_others_come_after_our_own(site: Path, tmp_path: Path) -> None:
    """Files that chgdb reads by itself never load the code of others, and a broken package does not stop them."""
    program = """
        import sys, chgdb
        from chgdb.testing import densities
        chgdb.write("CHGCAR.plain.CHGCAR", densities()[0])
        chgdb.read("CHGCAR.plain.CHGCAR")
        assert "plain_chgdb" not in sys.modules
    """
    run(site, program, tmp_path)


@pytest.mark.parametrize("name", ["chgcar", "cube", "npz", "xsf"])
def test_our_formats_keep_the_contract(name: str) -> None:
    channels = ("total",) if name == "cube" else ("total", "magnetization")
    check_format(formats.REGISTRY.get(name), channels=channels)


@pytest.mark.parametrize("name", ["fourier", "lossless", "realspace"])
def test_our_codecs_keep_the_contract(name: str) -> None:
    check_codec(codecs.get(name), tolerance=0 if name == "lossless" else 1e-4, other_package=False)


def test_a_model_of_ours_keeps_the_contract() -> None:
    pytest.importorskip("lightgbm")
    check_model(models.get("magpie"))


def test_the_contract_finds_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    """A format that transposes the grid, a codec that forgets a channel's sign."""
    write = chgcar.write
    turned = "chgcar.write"
    monkeypatch.setattr(f"chgdb.formats.{turned}", lambda stream, density: write(stream, _transposed(density)))
    with pytest.raises(AssertionError, match="came back"):
        check_format(chgcar)
    monkeypatch.setattr(f"chgdb.formats.{turned}", lambda stream, density: write(stream, replace(density, extras={})))
    with pytest.raises(AssertionError, match="the comment came back as 'NaCl'"):
        check_format(chgcar)
    alone = Crystal(np.eye(3), np.zeros((0, 3)), [])
    put = cube.write
    monkeypatch.setattr(
        "chgdb.formats.cube.write", lambda stream, density: put(stream, replace(density, crystal=alone))
    )
    with pytest.raises(AssertionError, match="came back changed"):
        check_format(cube)
    decode = lossless.decode
    monkeypatch.setattr(lossless, "decode", lambda payload, **options: _negated(decode(payload)))
    with pytest.raises(AssertionError, match="NMAE of 2"):
        check_codec(lossless, tolerance=0, other_package=False)


def _transposed(density):  # type: ignore[no-untyped-def]
    from chgdb import Density

    return Density(density.crystal, {name: values.T for name, values in density.channels.items()})


def _without_atoms(density):  # type: ignore[no-untyped-def]
    return replace(density, crystal=Crystal(density.crystal.cell, np.zeros((0, 3)), np.zeros(0)))


def _negated(density):  # type: ignore[no-untyped-def]
    from chgdb import Density

    return Density(density.crystal, {name: -values for name, values in density.channels.items()})


def test_installed_packages_are_looked_through_once(site: Path, tmp_path: Path) -> None:
    """It takes milliseconds; a build asks for formats and sources once for each of its files."""
    program = """
        from importlib import metadata
        from chgdb import plugins
        asked, look = [], metadata.entry_points
        metadata.entry_points = lambda **group: asked.append(group) or look(**group)
        for _ in range(3):
            assert "plain" in plugins.offered("chgdb.formats")
        assert len(asked) == 1
    """
    run(site, program, tmp_path)
