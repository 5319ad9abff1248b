"""DFT codes that the queue can run: a module for each, found by name.

    WORKER: Path                                    a script, run as `PYTHON WORKER JOB.json RESULT.npz`
    NEEDS: tuple[str, ...]                          what the interpreter that runs it must be able to import
    LANTHANIDES: frozenset[str]                     elements that need a folder of further potentials
    expected(record) -> float                       what a structure costs, in any unit: the cheapest comes first
    next_settings(record, attempts) -> dict         settings of the next attempt, after those that failed
    is_setups_folder(folder) -> bool                whether `--setups` names a folder of its potentials
    waits_for_setups(record, folder) -> bool        whether a structure cannot be computed without that folder

The worker writes `total` (and `magnetization`), (nx, ny, nz) in e/Å^3, and `meta` (see `manager.REQUIRED`); it needs
nothing of chgdb. The queue itself (`manager`, `runs`, `checks`) knows no code.
"""

from __future__ import annotations

from chgdb.plugins import Registry
from chgdb_catalog.dft.runs import RunError

DEFAULT = "gpaw"
REGISTRY = Registry(
    kind="DFT code",
    group="chgdb.dft_codes",
    package="chgdb_catalog",
    table={"gpaw": "gpaw.recipe"},
    error=RunError,
    required=("WORKER", "NEEDS", "LANTHANIDES", "expected", "next_settings", "is_setups_folder", "waits_for_setups"),
)
