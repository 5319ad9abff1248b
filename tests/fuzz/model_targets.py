"""Targets: latents, models, and the tables and batches that stores and models are made from."""

from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from base import Files, Target, as_it_is, placed, scratch, tolerated, unpacked

from chgdb import Crystal, Density
from chgdb_catalog import batches

# --- latents and autoencoders ----------------------------------------------------------------------------------------


@cache
def _density() -> Density:
    crystal = Crystal(np.eye(3) * 4.0, [[0, 0, 0], [0.5, 0.5, 0.5]], [14, 8])
    x, y, z = (np.cos(2 * np.pi * np.arange(8) / 8),) * 3
    return Density(crystal, {"total": 1 + 0.2 * (x[:, None, None] + y[None, :, None] * z[None, None, :])})


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@cache
def _autoencoder() -> Files:
    from latent_models import save_model

    return Files(_contents(save_model(scratch() / "good-model", [_density()])), _tensors)


def _tensors(key: str, content: bytes):
    """The header of a safetensors file, which is JSON; other files as they are."""
    if not key.endswith(".safetensors"):
        return unpacked(key, content)
    size = int.from_bytes(content[:8], "little")
    return content[8 : 8 + size], lambda header: len(header).to_bytes(8, "little") + header + content[8 + size :]


def _model(data: bytes) -> None:
    """One file of an autoencoder changed, its checksum made right; a latent is encoded and decoded with it."""
    from chgdb.latents.autoencoder import Autoencoder

    key, content = _autoencoder().changed(data)
    contents = _autoencoder().contents | {key: content}
    if key.endswith(".safetensors"):
        facts = json.loads(contents["model.json"])
        facts["weights_sha256"] = hashlib.sha256(content).hexdigest()
        contents["model.json"] = json.dumps(facts).encode()
    folder = scratch() / "model"
    for name, body in contents.items():
        placed(folder, name, body)
    model = Autoencoder.load(folder)
    density = _density()
    latent = model.encode(density)
    model.decode(latent, density.crystal, density.grid, density.n_electrons)


@cache
def _latent() -> Files:
    from chgdb.latents import files as latent_files
    from chgdb.latents import stores as latents
    from chgdb.latents.autoencoder import Autoencoder

    _autoencoder()
    model = Autoencoder.load(scratch() / "good-model")
    coded = latents.encode(model, _density())
    for name in ("good.zarr", "good.npy"):
        latent_files.write(scratch() / name, coded, model, _density())
    return Files(_contents(scratch() / "good.zarr") | {"good.npy": (scratch() / "good.npy").read_bytes()}, as_it_is)


def _latent_file(data: bytes) -> None:
    from chgdb.latents import files as latent_files
    from chgdb.latents.autoencoder import Autoencoder

    key, content = _latent().changed(data)
    if key.endswith(".npy"):
        path = scratch() / "latent.npy"
        path.write_bytes(content)
    else:
        path = scratch() / "latent.zarr"
        shutil.rmtree(path, ignore_errors=True)
        for name, body in (_latent().contents | {key: content}).items():
            placed(path, name, body)
    found = latent_files.read(path)
    found.integers(Autoencoder.load(scratch() / "good-model"), round_values=True)


# --- property models -------------------------------------------------------------------------------------------------


@cache
def _rows():
    from chgdb import features
    from chgdb.models import Rows

    rng = np.random.default_rng(0)
    crystals = tuple(
        Crystal(np.eye(3) * (3 + 0.05 * i), [[0, 0, 0], [0.5, 0.5, 0.5]], [3 + i, 9 + i]) for i in range(24)
    )
    inputs = {
        "magpie": rng.normal(size=(24, 132)),
        "applicability": rng.uniform(0.1, 1, (24, 5)),
        "density": rng.normal(size=(24, len(features.names()))),
    }
    return Rows(tuple(f"m-{i}" for i in range(24)), crystals, inputs, {"features": features.VERSION})


@cache
def _property_model(name: str) -> Files:
    """A model of a few made-up rows."""
    import pytest

    from chgdb.models import get
    from chgdb.models.ensemble import Ensemble

    rows, rng = _rows(), np.random.default_rng(1)
    targets = {"bulk_modulus": rng.uniform(50, 200, len(rows)), "shear_modulus": rng.uniform(20, 90, len(rows))}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(get(name), "TREES", 2)
        ensemble, _ = Ensemble.fit(name, rows, targets, folds=1)
    ensemble.save(scratch() / f"good-{name}", {"input_versions": {"features": rows.versions["features"]}})
    return Files(_contents(scratch() / f"good-{name}"), _tensors)


def _properties(name: str):
    def run(data: bytes) -> None:
        """One file of a property model changed, its checksum made right; a prediction is made with it."""
        from chgdb.models.ensemble import Ensemble

        key, content = _property_model(name).changed(data)
        contents = _property_model(name).contents | {key: content}
        if key != "model.json":
            facts = json.loads(contents["model.json"])
            facts["files"][key] = {"bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
            contents["model.json"] = json.dumps(facts).encode()
        folder = scratch() / name
        for place, body in contents.items():
            placed(folder, place, body)
        Ensemble.load(folder).predict(_rows().take([0, 1]), out_of_fold=True)

    return run


def _trees(data: bytes) -> None:
    from chgdb.models.methods import trees

    forest = trees.parse(data.decode("utf-8", "replace"))
    if forest.n_features < 1000:
        forest.predict(np.zeros((2, forest.n_features)))


def _trees_seeds() -> list[bytes]:
    contents = _property_model("magpie").contents
    return [lzma.decompress(data) for key, data in contents.items() if key.endswith(".txt.xz")]


# --- tables and batches ----------------------------------------------------------------------------------------------


@cache
def _batch() -> Files:
    folder = scratch() / "good-sources"
    grids = {"total": _density().total}
    packed, step = batches.pack_channels(grids)
    record = {"material_id": "m-1", "grid": [8, 8, 8], "cell": _density().crystal.cell.tolist(), "symbols": ["Si", "O"]}
    batches.append([(record, packed, step)], folder)
    return Files(_contents(folder), unpacked)


def _batches(data: bytes) -> None:
    key, content = _batch().changed(data)
    folder = scratch() / "sources"
    for name, body in (_batch().contents | {key: content}).items():
        placed(folder, name, body)
    batches._index.cache_clear()
    for material_id in ["m-1", *batches.index(folder)][:3]:
        with tolerated():
            batches.load(material_id, folder)


def _tables(data: bytes) -> None:
    """First byte: which reader. CSVs of ids, properties and labels, and queues of structures."""
    from chgdb.inputs import Names, read_properties
    from chgdb_catalog import labels, structures

    path = scratch() / "table.csv"
    kind, body = (data[:1] or b"\0")[0] % 4, data[1:]
    path.write_bytes(body)
    if kind == 0:
        names = Names(path)
        for source in ("a/CHGCAR", "b.cube", "x"):
            with tolerated():
                names(source)
    elif kind == 1:
        read_properties(path)
    elif kind == 2:
        labels.read(path)
        labels.claims(path)
    else:
        path.write_bytes(gzip.compress(body))
        known = scratch() / "labels.csv"
        known.write_text(_LABELS, encoding="utf-8")
        structures.load(path, known, (), ["magpie"], workers=1)


_LABELS = (
    "material_id,formula,in_paper,bulk_modulus_GPa,shear_modulus_GPa,young_modulus_GPa,debye_temperature_K,"
    "debye_from_moduli_K,energy_vs_atoms_eV_per_atom,formation_energy_mp2018_eV_per_atom,moduli_source,paper_split\n"
    "m-1,SiO2,True,100,50,120,300,310,-5,-1.5,dft,train\nm-2,NaCl,False,,,,,,,-2,,\n"
)


def _tables_seeds() -> list[bytes]:
    record: dict[str, Any] = {"material_id": "m-1", "structure_source": "x", "symbols": ["Si", "O"]}
    record |= {"cell": np.eye(3).tolist(), "frac": [[0, 0, 0], [0.5, 0.5, 0.5]]}
    return [
        b"\0path,material_id\na/CHGCAR,m-1\nb.cube,m-2\n",
        b"\1material_id,bulk_modulus_GPa,gap [eV],stable,note\nm-1,1.5,,true,x\nm-2,2,0.5,false,\n",
        b"\2" + _LABELS.encode(),
        b"\3" + json.dumps(record).encode() + b"\n",
    ]


TARGETS = {
    "latent": Target("latents in .npy and .zarr", lambda: _latent().seeds(), _latent_file, 20.0),
    "autoencoder": Target("autoencoders: description, weights", lambda: _autoencoder().seeds(), _model, 20.0),
    "model_magpie": Target(
        "property models: description, out-of-fold values, trees",
        lambda: _property_model("magpie").seeds(), _properties("magpie"), 20.0,
    ),
    "model_invariant": Target(
        "property models: Gaussian processes",
        lambda: _property_model("invariant").seeds(), _properties("invariant"), 20.0,
    ),
    "trees": Target("LightGBM text", _trees_seeds, _trees),
    "batches": Target("batches of the catalog's sources", lambda: _batch().seeds(), _batches),
    "tables": Target("CSV of ids, properties and labels; queues of structures", _tables_seeds, _tables),
}  # fmt: skip
