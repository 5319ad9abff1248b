"""Write the golden store of the current format version: every later version of chgdb must still open it.

    python tests/golden/make_store.py

writes store-v3.zip and store-v3.json (what it must give back); of the same materials as store-v1 and store-v2, which
earlier versions of this script wrote, three have latents, and two occupancies as numbers. It refuses to write over
them: their bytes are promises.
A new format version gets a store with a new name beside the old ones.
"""

from __future__ import annotations

import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER))
sys.path.insert(0, str(FOLDER.parent))

import occupied  # noqa: E402
from make_payloads import antiferromagnet, load_prior, noise, noncollinear  # noqa: E402

from chgdb import Density, codecs  # noqa: E402
from chgdb.catalog import open_catalog  # noqa: E402
from chgdb.ingest import build_from  # noqa: E402
from chgdb.store.files import FolderFiles  # noqa: E402
from chgdb.store.format import NMAE, SPACING  # noqa: E402
from chgdb.store.latents import LARGEST, SMALLEST, StoredLatents, compress  # noqa: E402
from chgdb.store.reader import Store  # noqa: E402
from chgdb.store.table import from_store  # noqa: E402
from chgdb.store.writer import write_table  # noqa: E402
from chgdb.symmetry import find  # noqa: E402

VERSION = 3
PRIOR = FOLDER / "payloads" / "fourier-prior.bin"
EXTRAS = {"comment": "golden", "after": {"total": "augmentation occupancies   1   2\n  0.1234567E+00 -0.7654321E-01\n"}}


D_METAL = (0, 0, 1, 1, 2, 2)  # l of the PAW channels
SEMICONDUCTOR = (0, 0, 1, 1, 2)


def collinear() -> dict[str, Any]:
    """Extras of `antiferromagnet`: operations that exchange its two kinds of iron change the sign of the spin."""
    crystal = antiferromagnet().crystal
    signs = np.where(np.isclose(crystal.positions[:, 1], 0), 1, -1)
    group = occupied.with_flips(crystal, signs)
    total = occupied.symmetric(crystal, {26: D_METAL}, 1)
    spin = occupied.symmetric(crystal, {26: D_METAL}, 2, group)
    after = {"total": occupied.text(total, 2.5 * signs), "magnetization": occupied.text(spin)}
    return {"comment": "golden".ljust(40), "species": [["Fe_pv", len(crystal)]], "after": after}


def with_vectors() -> dict[str, Any]:
    """Extras of `noncollinear`, imaginary parts included."""
    density = noncollinear()
    crystal, layouts = density.crystal, {31: SEMICONDUCTOR, 33: SEMICONDUCTOR}
    group = find(crystal)
    kept = [k for k, (rotation, _) in enumerate(occupied.operations(crystal, group)) if np.isclose(rotation[2, 2], 1)]
    parts = [occupied.symmetric(crystal, layouts, 3), *occupied.axial(crystal, layouts, group.take(kept), 4)]
    small = [[1e-3 * values for values in occupied.symmetric(crystal, layouts, seed)] for seed in range(5, 9)]
    after = {
        name: occupied.text(part, [0.0, 1.25] if name < "magnetization_z" else [], imaginary)
        for name, part, imaginary in zip(density.channels, parts, small, strict=True)
    }
    return {"comment": "unknown system".ljust(40), "species": [["Ga", 1], ["As", 1]], "after": after}


def with_prior() -> Density:
    """A density that is best encoded with the golden prior."""
    return codecs.decode(PRIOR.read_bytes(), prior=load_prior())


def load(material_id: str) -> tuple[Density, dict[str, Any]]:
    """Density and metadata of a material of the golden store."""
    density = {
        "gold-1": with_prior,
        "gold-2": lambda: replace(antiferromagnet(), extras=collinear()),
        "gold-3": lambda: replace(noncollinear(), extras=with_vectors()),
        "gold-4": lambda: replace(noise((6, 5, 4)), extras=EXTRAS),
    }[material_id]()
    metadata = {"band_gap": float(len(density.crystal)), "code": "made up", "checked": material_id != "gold-3"}
    return density, metadata if material_id != "gold-2" else {**metadata, "band_gap": None}


MODEL = {"model": "golden-01234567", "model_version": 1, "model_checksum": "0123456789abcdef" * 4}
STEP = 0.375


def latent(material_id: str) -> np.ndarray | None:
    """Integers of a material's latent, (16, 16, 16, 16) int16; gold-4 has none."""
    if material_id == "gold-4":
        return None
    number = int(material_id[-1])
    c, z, y, x = np.indices((16, 16, 16, 16))
    values = np.where((z < 4 + number) & (y < 5) & (x < 16 - number), (7 * c + 5 * z + 3 * y + x) % 11 - 5, 0)
    values[0, 0, 0, :2] = SMALLEST, LARGEST
    return values.astype(np.int16)


def add_latents(store: Path) -> None:
    """Latents as `chgdb.latents.add_latents` writes them, but of no model."""
    table = from_store(Store(FolderFiles(store)))
    values = [latent(str(i)) for i in table.columns["material_id"]]
    chunks = [None if v is None else compress(v) for v in values]
    missing = np.array([v is None for v in values])
    columns = {NMAE: np.where(missing, np.nan, 0.001), SPACING: np.where(missing, np.nan, 0.2)}
    table.set_latents(StoredLatents((16, 16, 16, 16), STEP, dict(MODEL), chunks), columns)
    shutil.rmtree(store)
    write_table(store, table)


def main() -> None:
    archive, expected = FOLDER / f"store-v{VERSION}.zip", FOLDER / f"store-v{VERSION}.json"
    if archive.exists() or expected.exists():
        sys.exit(f"{archive} is there already: golden files are never written again")
    columns = {"band_gap": {"units": "eV", "long_name": "band gap", "source": "made up"}}
    with tempfile.TemporaryDirectory() as temporary:
        store = Path(temporary) / "store.zarr"
        for ids, tolerance in ((["gold-1", "gold-2", "gold-3"], 1e-3), (["gold-4"], 0.0)):
            build_from(store, ids, load, columns=columns, tolerance=tolerance, prior=load_prior(), workers=1)
        add_latents(store)
        shutil.make_archive(str(archive.with_suffix("")), "zip", store)
        catalog = open_catalog(store)
        records = {}
        for record in catalog:
            density = record.density
            records[record.material_id] = {
                "metadata": json.loads(json.dumps(record.metadata, default=_plain)),
                "extras": dict(density.extras),
                "mean": [float(values.mean()) for values in density.channels.values()],
                "mean_square": [float((values.astype(float) ** 2).mean()) for values in density.channels.values()],
            }
        facts = {"format_version": catalog.format_version, "columns": catalog.columns, "records": records}
        expected.write_text(json.dumps(facts, indent=1, default=_plain) + "\n", encoding="utf-8")


def _plain(value: Any) -> Any:
    return value.tolist() if isinstance(value, np.ndarray | np.generic) else str(value)


if __name__ == "__main__":
    main()
