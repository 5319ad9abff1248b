"""Tables of the study of starts for DFT."""

from __future__ import annotations

from typing import Any

from chgdb_catalog.studies import dft_starts as study


def _found(kind: str, **iterations: int) -> dict[str, Any]:
    starts = {name.replace("_", "+"): {"iterations": n, "cpu_s": 2.0 * n} for name, n in iterations.items()}
    return {"kind": kind, "starts": starts}


def _columns(table: str) -> dict[str, list[str]]:
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines() if line[:1] == "|"]
    return {row[0]: row[1:] for row in rows[2:]}


EVERY = {"own": 20, "superposition": 15, "estimate": 14, "true": 13}
MATRICES = {"superposition_D": 12, "estimate_D": 11, "true_D": 10}


def test_without_learned_matrices_a_start_is_the_one_of_free_atoms() -> None:
    found = [
        _found("metal", **EVERY, **MATRICES),
        _found("magnet", **EVERY, **MATRICES, superposition_L=13, estimate_L=8),
    ]
    table = study.starts_table(found)
    rows = _columns(table)
    assert rows["GPAW's own"] == ["20.0", "", "20.0", "20.0", "0 %", "0 %", "100 %"]
    assert rows["estimate, learned matrices"] == ["14.0", "", "8.0", "11.0", "45 %", "45 %", "100 %"]
    assert rows["superposition, learned matrices"] == ["15.0", "", "13.0", "14.0", "30 %", "30 %", "100 %"]
    assert "Some matrices were learned in 1." in table


def test_materials_that_do_not_converge_are_left_out_and_counted() -> None:
    failed = _found("insulator", **EVERY, **MATRICES)
    failed["starts"]["true"] = {"error": "KohnShamConvergenceError: no"}
    table = study.starts_table([failed, _found("metal", **EVERY, **MATRICES)])
    assert "1 materials: 1 metals, 0 insulators, 0 magnets. 1 more did not converge" in table
    assert "learned matrices" not in "".join(_columns(table))
