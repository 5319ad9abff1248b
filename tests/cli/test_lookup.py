"""chgdb search and chgdb info."""

from __future__ import annotations

import os
import re
import struct
import subprocess
import sys

import pytest
from small import Chgdb, one_line

import chgdb
from chgdb_cli.output import print_card, print_table


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], ["iron", "salt", "si"]),
        (["--elements", "Na"], ["salt"]),
        (["--only", "Si"], ["si"]),
        (["--only", "Na"], []),
        (["--formula", "ClNa"], ["salt"]),
        (["--where", "band_gap:1..3"], ["si"]),
        (["--where", "band_gap:1..", "--where", "n_atoms:2"], ["salt", "si"]),
        (["--where", "code:made up", "--sort", "-volume"], ["salt", "iron", "si"]),
        (["--sort", "band_gap"], ["si", "salt", "iron"]),
        (["--where", "note:Measured"], ["si"]),
        (["--where", "formula:ClNa"], ["salt"]),
        (["--where", "elements:Cl, Na"], ["salt"]),
        (["--elements", "Na, Cl"], ["salt"]),
        (["--only", "Cl, Na"], ["salt"]),
        (["--where", "band_gap:1..", "--where", "band_gap:..2"], ["si"]),
        (["--where", "material_id:si"], ["si"]),
    ],
)
def test_search(run_chgdb: Chgdb, arguments: list[str], ids: list[str]) -> None:
    assert run_chgdb("search", *arguments, "--ids").out.split() == ids
    assert [row["material_id"] for row in run_chgdb("search", *arguments, "--json").json] == ids
    table = run_chgdb("search", *arguments)
    assert table.code == 0
    assert [line.split()[0] for line in table.out.splitlines()[1:]] == ids
    assert f"{len(ids)} of 3 materials" in table.err


def test_search_by_space_group(run_chgdb: Chgdb, store: str) -> None:
    number = chgdb.open(store)["iron"].metadata["space_group"]
    assert number == 221
    assert run_chgdb("search", "--space-group", number, "--ids").out == "iron\n"


def test_search_limit(run_chgdb: Chgdb) -> None:
    result = run_chgdb("search", "--limit", 1)
    assert len(result.out.splitlines()) == 2
    assert "3 of 3 materials; 1 shown" in result.err
    assert len(run_chgdb("search", "--limit", 0, "--json").json) == 3


def test_search_columns_asked_for_are_shown(run_chgdb: Chgdb) -> None:
    header, row = run_chgdb("search", "--where", "band_gap:..2").out.splitlines()
    assert header.endswith("band gap (eV)")
    assert row.endswith("1.1")


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (["--where", "band_gap"], 2),
        (["--where", "band_gap:a..b"], 2),
        (["--where", "band_gap:7..6"], 2),
        (["--where", "predicted:3"], 2),
        (["--predicted", "bulk_modulus:2..1"], 2),
        (["--where", "band_gap:wide"], 1),
        (["--where", "note:1..2"], 1),
        (["--where", "bandgap:1..2"], 1),
        (["--elements", "Xx"], 1),
        (["--formula", "not a formula"], 1),
        (["--sort", "no_column"], 1),
        (["--space-group", "231"], 2),
    ],
)
def test_search_mistakes(run_chgdb: Chgdb, arguments: list[str], code: int) -> None:
    result = run_chgdb("search", *arguments)
    assert result.code == code
    assert not result.out
    assert "Traceback" not in result.err
    assert one_line(result.err) or code == 2


def test_info_of_the_catalog(run_chgdb: Chgdb, store: str) -> None:
    facts = run_chgdb("info", "--json").json
    assert {"path", "n_materials", "format_version", "stored_bytes", "text_bytes"} <= facts.keys()
    assert facts["path"] == store
    assert facts["n_materials"] == 3
    assert facts["columns"]["band_gap"]["units"] == "eV"
    card = run_chgdb("info").out
    assert card.startswith("three crystals\n")
    assert "band_gap" in card
    assert "CC0" in card


def test_info_of_a_material(run_chgdb: Chgdb) -> None:
    facts = run_chgdb("info", "si", "--json").json
    wanted = {"material_id", "formula", "grid", "n_electrons", "tolerance", "nmae", "stored_bytes", "text_bytes"}
    assert wanted <= facts.keys()
    assert (facts["material_id"], facts["formula"], facts["grid"]) == ("si", "Si", [24, 24, 24])
    assert facts["n_electrons"] == pytest.approx(28)
    assert facts["band_gap"] == 1.1
    assert facts["units"]["band_gap"] == "eV"
    assert facts["energy_cutoff"] is None
    card = run_chgdb("info", "si").out
    for text in ("Si (si)", "Fd-3m (227)", "24 x 24 x 24", "28.000000", "1.1 eV", "made up", "0.01 %", "Å^3"):
        assert text in card
    assert " nan" not in card


def test_info_of_an_unknown_material(run_chgdb: Chgdb) -> None:
    result = run_chgdb("info", "sii")
    assert result.code == 1
    assert one_line(result.err)
    assert "close matches: si" in result.err


def test_the_card_shows_what_a_column_warns_of(run_chgdb: Chgdb, monkeypatch: pytest.MonkeyPatch) -> None:
    """The embedded Debye temperatures come with a warning about reconstructed cells."""
    monkeypatch.delenv("CHGDB_CATALOG", raising=False)
    material_id = chgdb.open().search(structure_source="reconstructed", debye_temperature=(1, None))[0]
    card = run_chgdb("info", material_id)
    assert card.code == 0
    assert "Notes" in card.out
    assert "keep them out of any training or test of it" in card.out


@pytest.mark.parametrize("width", [20, 33, 40, 60, 200])
def test_nothing_is_cut_on_a_narrow_terminal(store: str, width: int) -> None:
    arguments = ["search", "--sort", "-band_gap", "--where", "band_gap:0.."]
    shown = on_terminal(width, *arguments, "--catalog", store)
    for text in ("salt", "si", "NaCl", "28", "8.5", "1.1", "bytes", "gap", "2 of 3 materials"):
        assert text in shown
    assert "…" not in shown
    lines = [line.split() for line in shown.splitlines()]
    assert max(map(len, shown.splitlines())) <= max(width, 27)
    assert ["salt"] in lines if width <= 60 else any(line[:2] == ["salt", "NaCl"] for line in lines)


def on_terminal(width: int, *arguments: str) -> str:
    """What a command shows on a terminal of so many columns, without its bold letters."""
    pty = pytest.importorskip("pty")
    import fcntl
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, width, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(
        [sys.executable, "-m", "chgdb_cli.main", *arguments],
        stdout=theirs, stderr=theirs, env=environment | {"TERM": "xterm"},
    )  # fmt: skip
    os.close(theirs)
    parts = []
    while part := _read(ours):
        parts.append(part)
    os.close(ours)
    assert process.wait(60) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", b"".join(parts).decode())


def _read(terminal: int) -> bytes:
    try:
        return os.read(terminal, 4096)
    except OSError:  # Linux's way to say that the other end is closed
        return b""


def test_text_of_a_store_is_shown_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([("id", False), ("[red]n[/red]", True)], [["Fe[bold]1", "\x1b[31m7"], ["a" * 11_000, ":smile:"]])
    print_card("Fe[bold]1\x1b[2J", [("", [("[i]a", "\x07b")])])
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "\x07" not in out
    for text in ("Fe[bold]1", "[red]n[/red]", "?[31m7", "a" * 11_000, ":smile:", "[i]a"):
        assert text in out
