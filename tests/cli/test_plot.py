"""chgdb plot."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("matplotlib")

from small import DENSITIES, Chgdb, one_line

from chgdb_cli.figures import _plane_values, _smooth, _through_an_atom


def test_plot_of_a_material(run_chgdb: Chgdb) -> None:
    result = run_chgdb("plot", "salt")
    assert result.code == 0
    assert result.out == "salt.png\n"
    data = Path("salt.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    width, height = struct.unpack(">II", data[16:24])
    assert width > height > 500


@pytest.mark.parametrize("axis", ["a", "b", "c"])
def test_plot_of_a_file(run_chgdb: Chgdb, runs: Path, axis: str) -> None:
    arguments = ["--axis", axis, "--at", 0.3, "--channel", "magnetization", "-o", f"{axis}.svg"]
    assert run_chgdb("plot", runs / "iron/CHGCAR", *arguments).code == 0
    assert "<svg" in Path(f"{axis}.svg").read_text()


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["si", "--channel", "magnetization"], 2),
        (["si", "--axis", "d"], 2),
        (["si", "-o", "si.xyz"], 1),
        (["nothing"], 1),
        (["si", "-o", "exists.png"], 1),
    ],
)
def test_plot_mistakes(run_chgdb: Chgdb, arguments: list[str], code: int) -> None:
    Path("exists.png").touch()
    result = run_chgdb("plot", *arguments)
    assert result.code == code
    assert "Traceback" not in result.err
    assert code == 2 or one_line(result.err)


def test_the_slice_is_the_density_there() -> None:
    density = DENSITIES["salt"]()
    np.testing.assert_allclose(_plane_values(density.total, 2, 7 / 28), density.total[:, :, 7])
    between = _plane_values(density.total, 0, 3.5 / 20)
    np.testing.assert_allclose(between, (density.total[3] + density.total[4]) / 2)
    np.testing.assert_allclose(
        _plane_values(density.total, 1, 17.75 / 18), 0.25 * density.total[:, 17] + 0.75 * density.total[:, 0]
    )


def test_smooth_keeps_the_points_and_refuses_to_ring() -> None:
    wave = 2 + np.cos(2 * np.pi * np.arange(12) / 12)
    fine = _smooth(wave, (24,))
    np.testing.assert_allclose(fine[::2], wave)
    spike = np.zeros(12)
    spike[0] = 1.0
    assert _smooth(spike, (24,)) is spike


def test_the_slice_goes_through_most_atoms() -> None:
    assert _through_an_atom(DENSITIES["si"](), 2) == 0.0
    assert _through_an_atom(DENSITIES["salt"](), 0) == 0.0
