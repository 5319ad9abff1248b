"""The table of commands: where each is, and its line in `chgdb --help`.

A command's module is imported when the command is used, and the help prints from the table: the start of the program
does not grow with the number of commands.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

#: Command -> (module of chgdb_cli whose `register` adds it, short help), in the order of the help.
COMMANDS = {
    "fetch": ("fetch", "Densities of a catalog to files, with their error."),
    "encode": ("encode", "The latent tensor of a density."),
    "decode": ("encode", "A density from a latent tensor."),
    "estimate": ("estimate", "The density of any structure, guessed in milliseconds."),
    "predict": ("predict", "Elastic, thermal and energetic properties of a density or structure."),
    "similar": ("similar", "The materials that a density or structure is most like."),
    "search": ("lookup", "Materials that meet criteria."),
    "info": ("lookup", "Facts about a material or a catalog."),
    "build": ("stores", "Pack density files into a store."),
    "verify": ("stores", "Check every byte of a store."),
    "merge": ("curation", "Several stores into one."),
    "subset": ("curation", "Some materials of a store as a store of their own."),
    "remove": ("curation", "Materials out of a store."),
    "rename": ("curation", "Another id for a material of a store."),
    "add-columns": ("curation", "Columns of a CSV into a store."),
    "publish": ("remote", "Copy a store to where others read it."),
    "pull": ("remote", "Bring a whole store here."),
    "convert": ("files", "Between file formats and grids."),
    "diff": ("files", "NMAE, largest difference, electron counts."),
    "combine": ("combine", "Sums and differences of densities."),
    "profile": ("profile", "Averages over lattice planes."),
    "values": ("profile", "Values at points and along lines."),
    "spheres": ("profile", "Integrals in spheres around atoms."),
    "charges": ("charges", "Electrons and net charge of each atom."),
    "dipole": ("charges", "Dipole moment of a molecule or slab."),
    "plot": ("plot", "Slices, planes and isosurfaces as pictures."),
    "web": ("web", "Look at a store in a browser."),
    "cache": ("remote", "Local copies of remote stores: info, clear, path."),
    "train": ("train", "Train the models of a catalog."),
}


class Commands(TyperGroup):
    """The group of all commands. Those of the table are stand-ins with a name and a short help until they are used."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        stand_ins = {name: TyperCommand(name, short_help=text) for name, (_, text) in COMMANDS.items()}
        self._own = dict(self.commands)
        self.commands = stand_ins | self._own

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, command, rest = super().resolve_command(ctx, args)
        if name in COMMANDS and name not in self._own:
            command = load(name)
        return name, command, rest


@cache
def load(name: str) -> Any:
    """A command of the table, its module imported."""
    loaded = typer.Typer(rich_markup_mode=None, pretty_exceptions_enable=False)
    import_module(f"chgdb_cli.{COMMANDS[name][0]}").register(loaded)
    return typer.main.get_group(loaded).commands[name]
