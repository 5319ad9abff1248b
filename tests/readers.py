"""A writer and twenty readers of one store at the same time, each a process of its own.

    python tests/readers.py write STORE SECONDS SEED PAUSE      the writer; prints its counts as JSON
    python tests/readers.py read STORE SECONDS SEED PAUSE       a reader

PAUSE is the longest time in seconds that a reader waits between two rounds: others want the processors too.

Every material holds one of a few densities of the embedded catalog, and its id says which: `stay-7` the seventh, or
once the writer has replaced it the eighth; `pass-7`, which comes and goes, the seventh. So a reader knows the hash of
the values that it must decode. Whatever else it sees is an error, and ends it with code 1.
"""

from __future__ import annotations

import json
import random
import sys
import time
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path

import numpy as np
from synthetic import repeated

import chgdb
from chgdb import Catalog, Density
from chgdb.errors import UnknownMaterialError
from chgdb.extraction import extract
from chgdb.ingest import build_from
from chgdb.store.table import from_store
from chgdb.store.writer import write_table

#: Different densities; each as the codec decodes it.
KINDS = 24
#: Materials to begin with: enough that an append links what it does not change.
ROWS = 4200


@dataclass
class Counts:
    """Of a reader: decoded densities compared with their hash, other answers checked, times the store was opened, ids
    that had gone, and versions of the store that were seen."""

    densities: int = 0
    answers: int = 0
    opened: int = 0
    gone: int = 0
    versions: int = 0


@dataclass
class Written:
    """Of the writer: versions by the way they were made, and the materials they added, replaced and deleted."""

    appended: int = 0
    replaced: int = 0
    deleted: int = 0
    added_materials: int = 0
    replaced_materials: int = 0
    deleted_materials: int = 0


def kinds(material_id: str) -> tuple[int, ...]:
    """Which densities a material may have."""
    family, number = material_id.split("-")
    first = int(number) % KINDS
    return (first, (first + 1) % KINDS) if family == "stay" else (first,)


def digest(density: Density) -> str:
    """Hash of everything in a density, to the last bit."""
    parts = [density.crystal.cell, density.crystal.positions, np.asarray(density.crystal.numbers, np.int64)]
    parts += list(density.channels.values())
    whole = b"".join(np.ascontiguousarray(part).tobytes() for part in parts)
    return blake2b(repr(tuple(density.channels)).encode() + whole, digest_size=16).hexdigest()


def _sources(folder: Path) -> Path:
    return folder.with_name("kinds.zarr")


def prepare(store: Path) -> None:
    """The densities as a store of their own beside `store`, the hashes of what they decode to, and `store`."""
    embedded = chgdb.open()
    order = np.argsort(embedded.column("text_bytes"), kind="stable")[: KINDS * 4 : 4]  # small ones: quick to encode
    chosen = [embedded.ids[row] for row in order]
    sources = _sources(store)
    assert build_from(sources, chosen, _of_embedded, workers=1).complete
    table = from_store(chgdb.open(sources).store)
    assert len({table.records[row] for row in range(KINDS)}) == KINDS
    hashes = [digest(chgdb.open(sources)[i].density) for i in chosen]
    assert len(set(hashes)) == KINDS
    facts = {"hashes": hashes, "formulas": [str(f) for f in table.columns["formula"]]}
    sources.with_suffix(".json").write_text(json.dumps(facts))
    ids = [f"stay-{i}" for i in range(ROWS)]
    write_table(store, repeated(table, [kinds(i)[0] for i in ids], ids))


def _of_embedded(material_id: str) -> tuple[Density, dict[str, object]]:
    return chgdb.open()[material_id].density, {"space_group": 1}


def write(store: Path, seconds: float, seed: int, pause: float) -> Written:
    """Append, replace and delete in turn until the time is over, each once at least."""
    rng, done, originals = random.Random(seed), Written(), chgdb.open()
    names = chgdb.open(_sources(store)).ids
    number, end = ROWS, time.monotonic() + seconds
    passing: list[str] = []
    turn = 0

    def build(which: dict[str, int], on_duplicate: str) -> None:
        report = build_from(
            store, list(which), lambda i: (originals[names[which[i]]].density, {"space_group": 1}), workers=1,
            on_duplicate=on_duplicate,  # type: ignore[arg-type]
        )  # fmt: skip
        assert report.complete, report

    while turn < 4 or time.monotonic() < end:
        time.sleep(pause * rng.random() / 10)
        action = ("append", "replace", "append", "delete")[turn % 4]
        turn += 1
        if action == "append":
            count = rng.randint(1, 3)
            fresh = [f"stay-{number + i}" for i in range(count)] + [f"pass-{number + i}" for i in range(count)]
            build({i: kinds(i)[0] for i in fresh}, "refuse")
            passing += fresh[count:]
            number += count
            done.appended += 1
            done.added_materials += len(fresh)
        elif action == "replace":
            chosen = [f"stay-{rng.randrange(number)}" for _ in range(3)]
            build({i: rng.choice(kinds(i)) for i in chosen}, "replace")
            done.replaced += 1
            done.replaced_materials += len(set(chosen))
        else:
            catalog = chgdb.open(store)
            gone = set(rng.sample(passing, len(passing) // 2 + 1))
            extract(catalog, [i for i in catalog.ids if i not in gone], store, replace=True)
            passing = [i for i in passing if i not in gone]
            done.deleted += 1
            done.deleted_materials += len(gone)
    return done


def read(store: Path, seconds: float, seed: int, pause: float) -> Counts:
    """Read at random until the time is over, once at least. Raises `AssertionError`, or what chgdb raised, at the first
    wrong answer."""
    rng, seen = random.Random(seed), Counts()
    facts = json.loads(_sources(store).with_suffix(".json").read_text())
    hashes, formulas = facts["hashes"], facts["formulas"]
    end = time.monotonic() + seconds
    tokens = set()
    catalog = chgdb.open(store)
    while not seen.densities or time.monotonic() < end:
        if rng.random() < 0.2:
            catalog = chgdb.open(store)
            seen.opened += 1
        ids = catalog.ids
        assert len(set(ids)) == len(ids) >= ROWS
        assert sum(i.startswith("stay-") for i in ids) >= ROWS
        tokens.add(str(catalog.store.token))
        for _ in range(5):
            _check_material(catalog, rng.choice(ids[-60:] if rng.random() < 0.3 else ids), hashes, formulas, seen)
        formula = rng.choice(formulas)
        for material_id in catalog.search(formula=formula):
            assert formula in [formulas[kind] for kind in kinds(material_id)], (material_id, formula)
        assert "stay-0" in catalog
        assert "stay--1" not in catalog
        seen.answers += 3
        time.sleep(pause * rng.random())
    seen.versions = len(tokens)
    return seen


def _check_material(catalog: Catalog, material_id: str, hashes: list[str], formulas: list[str], seen: Counts) -> None:
    allowed = kinds(material_id)
    try:
        record = catalog[material_id]
        decoded = digest(record.decode())
        facts = record.metadata
    except UnknownMaterialError:
        assert material_id.startswith("pass-"), f"{material_id} is gone, and nobody deleted it"
        seen.gone += 1
        return
    assert decoded in [hashes[kind] for kind in allowed], f"{material_id} decodes to what it never was"
    assert facts["formula"] in [formulas[kind] for kind in allowed], (material_id, facts["formula"])
    assert facts["nmae"] <= facts["tolerance"]
    seen.densities += 1
    seen.answers += 2


def main() -> int:
    action, store, seconds, seed, pause = sys.argv[1:]
    function = {"read": read, "write": write}[action]
    print(json.dumps(asdict(function(Path(store), float(seconds), int(seed), float(pause)))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
