"""Write `density/`: a small density model and three of its predictions, which every later version must give again.

Run once, by hand, for a new version of the file's format; the files of older versions stay.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch

from chgdb import Crystal
from chgdb.densities.applicability import DESCRIPTORS, ApplicabilityDomain
from chgdb.densities.architecture import Configuration
from chgdb.densities.calibration import Calibration
from chgdb.densities.guess import guess
from chgdb.densities.model import FILE, DensityModel, Member, load
from chgdb.densities.network import Network
from chgdb.densities.properties import table
from chgdb.promolecule import Prior

FOLDER = Path(__file__).parent / "density"
KNOWN = [1, 8, 11, 14, 17, 22]
CRYSTALS = [
    Crystal(2.82 * (np.ones((3, 3)) - np.eye(3)), [[0, 0, 0], [0.5, 0.5, 0.5]], [11, 17]),
    Crystal([[4.1, 0.2, 0.0], [-0.9, 5.2, 0.3], [0.4, 1.1, 6.0]], [[0.03, 0.12, 0.21], [0.52, 0.58, 0.07]], [14, 8]),
    Crystal(
        np.diag([4.6, 4.6, 2.96]), [[0, 0, 0], [0.5, 0.5, 0.5], [0.31, 0.31, 0.02], [0.8, 0.2, 0.5]], [22, 22, 8, 1]
    ),
]


def main() -> None:
    torch.manual_seed(0)
    members = []
    for carried in (0, 2):
        configuration = Configuration(channels=4, width=8, carried=carried, waves=4, layers=2, count=3, cut=1.2)
        network = Network(configuration, KNOWN, torch.as_tensor(table(KNOWN), dtype=torch.float32))
        members.append(Member(configuration, {k: v.numpy() for k, v in network.state_dict().items()}))
    catalog = load()
    rows = np.searchsorted(catalog.prior.numbers, KNOWN)
    model = DensityModel(
        known=np.array(KNOWN),
        valence={z: catalog.valence[z] for z in KNOWN},
        prior=Prior(np.array(KNOWN), catalog.prior.coefficients[rows]),
        members=tuple(members),
        calibration=Calibration(-1.0, (0.5, 0.25), 0.1, 0.6, 100),
        domain=ApplicabilityDomain({name: (0.5, 2.0) for name in DESCRIPTORS}, {z: 50 for z in KNOWN}),
        facts={"made_by": "tests/golden/make_density.py"},
    ).save(FOLDER / FILE)
    cases = []
    for crystal in CRYSTALS:
        grid = (8, 9, 10)
        found = guess(model, crystal, grid)
        cases.append({
            "cell": crystal.cell.tolist(), "positions": crystal.positions.tolist(), "numbers": crystal.numbers.tolist(),
            "grid": list(grid), "total": found.total.ravel().tolist(), "error": found.error, "limit": found.limit,
            "remarks": list(found.remarks),
        })  # fmt: skip
    (FOLDER / "predictions.json").write_text(json.dumps({"model": model.identifier, "cases": cases}) + "\n")


if __name__ == "__main__":
    main()
