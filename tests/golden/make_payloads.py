"""Write the golden payloads: records that every later version of chgdb must still decode.

    python tests/golden/make_payloads.py

writes, for each name in `CASES` that tests/golden/payloads does not have yet,

    NAME.bin    the payload
    NAME.json   codec, tolerance, grid, channels, and what the decoded values add up to
    NAME.npy    decoded values of every channel, (channels, n) float64, every `stride`-th point of the flat grid

and prior.json, the form factors that some of them need. Files that are there are never written again: their bytes are
promises. A new feature of the format gets a new case with a new name.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np

FOLDER = Path(__file__).resolve().parent / "payloads"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from fields import STRUCTURES, density, smooth, summed, total  # noqa: E402

from chgdb import Density, codecs  # noqa: E402
from chgdb.promolecule import Prior, fit  # noqa: E402


def load_prior(folder: Path = FOLDER) -> Prior:
    """The prior of the golden payloads."""
    stored = json.loads((folder / "prior.json").read_text(encoding="utf-8"))
    return Prior.from_arrays({name: np.array(values) for name, values in stored.items()})


def antiferromagnet() -> Density:
    crystal, grid = STRUCTURES["supercell"], (10, 5, 15)
    signs = np.where(np.isclose(crystal.positions[:, 1], 0), 0.4, -0.4)
    spin = density(crystal, grid, width=0.6, weights=signs)
    return Density(crystal, {"total": density(crystal, grid, width=0.6), "magnetization": spin})


def noncollinear() -> Density:
    crystal, grid = STRUCTURES["zinc blende"], (10, 10, 10)
    fields = {"total": density(crystal, grid, width=0.6)}
    for axis, weights in zip("xyz", ([0.3, -0.1], [0.0, 0.0], [-0.2, 0.5]), strict=True):
        fields[f"magnetization_{axis}"] = density(crystal, grid, width=0.6, weights=np.array(weights))
    return Density(crystal, fields)


def noise(grid: tuple[int, int, int], structure: str = "triclinic") -> Density:
    return Density(STRUCTURES[structure], {"total": np.random.default_rng(17).normal(1, 0.3, grid)})


def constant() -> Density:
    return Density(STRUCTURES["fcc"], {"total": np.full((3, 4, 5), 0.25)})


def without_symmetry(grid: tuple[int, int, int], seed: int) -> Density:
    return Density(STRUCTURES["triclinic"], {"total": smooth(grid, seed)})


def far_wave() -> Density:
    """Many coefficients, nearly all of them zero."""
    wave = 1 + 0.5 * np.cos(2 * np.pi * (39 * np.arange(81) / 81 + 0.1))[:, None, None] * np.ones((81, 81, 81))
    corner = np.cos(2 * np.pi * 38 * np.arange(81) / 81)
    wave = wave + 0.01 * corner[:, None, None] * corner[:, None] * corner
    return Density(STRUCTURES["triclinic"], {"total": wave})


def peaks(structure: str, grid: tuple[int, int, int]) -> Density:
    """A density that no sphere of coefficients holds."""
    return Density(STRUCTURES[structure], {"total": density(STRUCTURES[structure], grid, width=0.08)})


#: name -> (density, tolerance, codec, whether the prior may be used)
CASES: dict[str, tuple[Callable[[], Density], float, str, bool]] = {
    "fourier-plain": (lambda: total("triclinic", (9, 10, 11), width=0.6), 1e-3, "fourier", False),
    "fourier-diamond": (lambda: total("diamond", (12, 12, 12)), 1e-5, "fourier", False),
    "fourier-origin": (lambda: total("monoclinic", (12, 12, 12)), 1e-3, "fourier", False),
    "fourier-prior": (lambda: total("quartz", (12, 12, 12)), 1e-3, "fourier", True),
    "fourier-flips": (antiferromagnet, 1e-4, "fourier", False),
    "fourier-noncollinear": (noncollinear, 1e-4, "fourier", False),
    "fourier-nyquist": (lambda: noise((6, 5, 8)), 1e-3, "fourier", False),
    "fourier-constant": (constant, 1e-4, "fourier", False),
    "fourier-32-lanes": (lambda: without_symmetry((21, 21, 21), 5), 1e-9, "fourier", False),
    "fourier-256-lanes": (far_wave, 1e-3, "fourier", False),
    "fourier-coarse": (lambda: summed("triclinic", (16, 18, 20), magnetization=True), 1e-4, "fourier", False),
    "fourier-coarse-symmetric": (lambda: summed("quartz", (16, 16, 20)), 1e-4, "fourier", False),
    "fourier-multipoles": (lambda: total("triclinic", (18, 20, 22), width=0.35), 1e-4, "fourier", False),
    "realspace-diamond": (lambda: peaks("diamond", (12, 12, 12)), 1e-3, "realspace", False),
    "realspace-noise": (lambda: noise((7, 6, 5), "hcp"), 1e-6, "realspace", False),
    "lossless-double": (lambda: noise((4, 5, 3)), 0.0, "lossless", False),
    "lossless-single": (
        lambda: Density(STRUCTURES["fcc"], {"total": smooth((6, 6, 6), 2).astype(np.float32)}), 0.0, "lossless", False,
    ),
}  # fmt: skip


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    prior_file = FOLDER / "prior.json"
    if not prior_file.exists():
        prior = fit([total("diamond", (12, 12, 12)), total("quartz", (12, 12, 12))])
        arrays = {name: np.asarray(values).tolist() for name, values in prior.to_arrays().items()}
        prior_file.write_text(json.dumps(arrays) + "\n", encoding="utf-8")
    prior = load_prior()
    for name, (make, tolerance, codec, with_prior) in CASES.items():
        if (FOLDER / f"{name}.bin").exists():
            print(f"{name}: kept")
            continue
        original = make()
        options = {"predict": name.startswith(("fourier-coarse", "fourier-multipoles"))} if codec == "fourier" else {}
        own = prior if with_prior else None
        payload = codecs.encode(original, tolerance, codec=codec, prior=own, **options).payload
        header, decoded = codecs.header(payload), codecs.decode(payload, prior=prior)
        values = np.stack([channel.ravel() for channel in decoded.channels.values()]).astype(float)
        stride = 1 + values.shape[1] // 1500
        config = {
            "codec": header.codec,
            "tolerance": tolerance,
            "prior_id": header.prior_id,
            "grid": list(header.grid),
            "channels": list(header.channels),
            "formula": header.crystal.formula,
            "cell": header.crystal.cell.tolist(),
            "positions": header.crystal.positions.tolist(),
            "dtype": str(decoded.total.dtype),
            "stride": stride,
            "mean": values.mean(axis=1).tolist(),
            "mean_square": (values**2).mean(axis=1).tolist(),
        }
        np.save(FOLDER / f"{name}.npy", values[:, ::stride], allow_pickle=False)
        (FOLDER / f"{name}.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        (FOLDER / f"{name}.bin").write_bytes(payload)
        print(f"{name}: {len(payload)} bytes")


if __name__ == "__main__":
    main()
