"""Write golden latents of the catalog's autoencoder: every later chgdb must decode them to the same densities.

    python tests/golden/make_latents.py [MODEL]

writes latents/IDENTIFIER.npz: for each of three materials the payload of its density, its latent and
what that decodes to. It refuses to write over a file: a new model gets a new one beside it, under its own name.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path

import numpy as np

import chgdb
from chgdb import Density, codecs
from chgdb.latents import stores as latents

FOLDER = Path(__file__).resolve().parent / "latents"
#: Silicon, MgO and aluminium; their densities as the catalog had them.
IDS = ("mp-149", "mp-1265", "mp-134")
GRID = (16, 18, 20)  # of the decoded densities kept: what a decoder gets wrong shows on any grid


def main() -> None:
    model = latents.load_model(sys.argv[1] if len(sys.argv) > 1 else None)
    target = FOLDER / f"{model.identifier}.npz"
    if target.exists():
        sys.exit(f"{target} is there already: golden files are never written again")
    catalog = chgdb.open()
    arrays: dict[str, np.ndarray] = {"checksum": np.frombuffer(bytes.fromhex(model.checksum), np.uint8)}
    for material_id in IDS:
        record = catalog[material_id].density
        payload = codecs.encode(Density(record.crystal, {"total": record.total}), 1e-3, codec="fourier").payload
        density = codecs.decode(payload)
        coded = latents.encode(model, density)
        # Without the symmetry of the crystal: what the network gives.
        decode = partial(model.decode, coded.integers, density.crystal, symmetric=False)
        decoded = decode(GRID, density.n_electrons)
        raw = decode(GRID, density.n_electrons, rescale=False)
        own = decode(density.grid, density.n_electrons)
        arrays |= {
            f"{material_id}/payload": np.frombuffer(payload, np.uint8),
            f"{material_id}/latent": coded.integers,
            f"{material_id}/nmae": np.array(codecs.measure(density, own).nmae["total"]),
            f"{material_id}/decoded": decoded.total.astype(np.float32),
            f"{material_id}/raw": raw.total.astype(np.float32),
        }
    FOLDER.mkdir(exist_ok=True)
    np.savez_compressed(target, allow_pickle=False, **arrays)  # type: ignore[arg-type]
    print(target.name, target.stat().st_size, [float(arrays[f"{i}/nmae"]) for i in IDS])


if __name__ == "__main__":
    main()
