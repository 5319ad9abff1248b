"""What of the data package goes into the wheel: not the scripts that write into the repository."""

from __future__ import annotations

from setuptools.command.build_py import build_py

#: Modules that need a clone. The packages `dft`, `gpaw` and `studies` are not listed in pyproject.toml.
SCRIPTS = frozenset(
    [
        "batches",
        "columns",
        "coverage",
        "datasheet",
        "doubts",
        "drawing",
        "energies",
        "rebuild",
        "scripts",
        "train_densities",
        "wheel",
    ]
)


class WithoutScripts(build_py):
    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        found = super().find_package_modules(package, package_dir)
        return [entry for entry in found if package != "chgdb_catalog" or entry[1] not in SCRIPTS]
