"""Fixtures that every test may use."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

# One thread a process, also in those that tests start: pytest -n is the parallelism, and threads that wait for each
# other take longer than one. Set before anything imports numpy or torch.
for _name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")

# Temporary folders are in memory where there is room: stores flush all that they write, and on a disk tests wait longer
# for that than they compute. pytest reads the variable; `--basetemp` names another place.
_MEMORY = "/dev/shm"
if os.access(_MEMORY, os.W_OK | os.X_OK) and not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC:
    _free = shutil.disk_usage(_MEMORY).free
else:
    _free = 0
if _free > 4e9:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", _MEMORY)

# In the workers of xdist, too, before a module of tests asks for it.
if "--thorough" in sys.argv:
    os.environ["CHGDB_THOROUGH"] = "1"

import pytest
from effort import examples
from hypothesis import settings
from materials import IDS, atoms

from chgdb import Density

#: Real VASP files and computed densities, beside the repository; not part of it.
SHARED = Path(__file__).resolve().parents[2] / "shared"

# A shared machine pauses tests at will; a hang is the test runner's to notice.
settings.register_profile("chgdb", deadline=None, max_examples=examples(100))
settings.load_profile("chgdb")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--thorough", action="store_true", help="repeat tests as often as they can be, as for a release")


#: What `-m quick` runs: of every room the tests that most changes concern, none of which takes long.
QUICK = """
test_architecture test_style test_wheel
formats/test_chgcar formats/test_cube formats/test_xsf formats/test_npz
codecs/test_fourier codecs/test_lossless codecs/test_golden
test_grids test_comparison test_promolecule test_algebra test_profiles
store/test_golden_stores test_catalog test_criteria test_extraction
inputs/test_ids remote/test_kinds
cli/test_fetch cli/test_lookup cli/test_estimate
features/test_composition models/test_tables models/test_elasticity models/test_trees test_splits test_prediction
""".split()


#: Tests of these files that take seconds: `-m quick` leaves them out.
_LONG = {
    "test_truncated_anywhere",
    "test_a_flipped_byte_anywhere",
    "test_files_of_vasp",
    "test_elements_boxes_and_cells_that_were_never_seen",
    "test_every_way_to_name_a_structure_gives_the_same",
    "test_damage",
    "test_peak_memory",
    "test_xarray_opens_it_without_chgdb",
    "test_the_index_finds_every_id_in_a_chunk_or_two",
    "test_structures_of_other_packages",
    "test_a_structure_gives_nearly_what_its_density_gives",
    "test_an_open_catalog_goes_to_other_processes",
}


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """With `-m quick`, other files are not even imported: some take seconds."""
    if config.option.markexpr != "quick" or collection_path.is_dir() or _is_quick(collection_path):
        return None
    return True


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        long = getattr(item, "originalname", item.name) in _LONG or item.get_closest_marker("slow") is not None
        if _is_quick(item.path) and not long:
            item.add_marker("quick")


def _is_quick(path: Path) -> bool:
    here = Path(__file__).parent
    return path.is_relative_to(here) and path.relative_to(here).with_suffix("").as_posix() in QUICK


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of shared data; skips the test where it is missing."""
    if not (SHARED / "vasp").is_dir():
        pytest.skip("needs the shared data (folder ../shared beside the repository)")
    return SHARED


@pytest.fixture(scope="session")
def densities() -> list[Density]:
    """Superpositions of atoms in twelve crystals."""
    return [atoms(name) for name in IDS]
