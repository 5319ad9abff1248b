"""Which quantity a file holds, where it says so: in the comments of a cube, or in a name.

Programs write every field on a grid in the layouts of densities: potentials, orbitals, spin densities, localisation
functions. The numbers alone do not tell. What says nothing is taken for the total density.
"""

from __future__ import annotations

import re
from functools import cache

_LONGEST = 200  # characters of a comment that are looked at
#: Quantity -> what programs call it, as regular expressions of whole words; underscores are blanks. See `quantity_of`.
_OTHERS = {
    "a spin density": (
        r"spin[ -]*((up|down|scf|mp2|ci|cc|difference|polari[sz]ation) )*dens\w*",
        r"(spin )?magneti[sz]ation( dens\w*)?", r"(alpha|up) ?- ?(beta|down)", r"property: ds",
    ),
    "the density of one spin": (
        r"(alpha|beta|spin[ -]?(up|down|alpha|beta)|(up|down)[ -]spin|majority|minority)"
        r"( (spin|scf|mp2|ci|cc|electron|charge))* dens\w*", r"property: d[ab]",
    ),
    "a difference of densities": (
        r"((electron|charge|density) )*(density|charge) (difference|deformation)",
        r"(difference|deformation|bonding|delta)[ -]((electron|charge) )*(dens\w*|charge)",
        r"(transition|attachment|detachment|electron-hole|hole|response|induced|fukui) (charge )?dens\w*",
        r"chgdiff|drho|delta ?rho|fukui( function)?|(property: )?dual( descriptor)?",
    ),
    "a potential": (
        r"(\w*static |hartree |coulomb )?potentials?(?! (energy|surface))",
        r"v[ -]?(hartree|h|xc|tot|eff|ext|bare|loc)",
        r"esp|mep|totesp|nucesp|locpot|property: esp",
    ),
    "the density of an orbital or of states in a window": (
        r"(homo|lumo|somo|orbital) (charge )?dens\w*", r"i?ldos|local dos|((integrated|local) )*density of states|stm",
    ),
    "an orbital": (
        r"((molecular|natural|kohn-sham|canonical|locali[sz]ed|atomic|bloch|crystal) )*orbitals?",
        r"(?-i:MO)[ =#:]+\d+|mo (coeff\w*|values?)|mo ?= ?\w+|movalue", r"(homo|lumo|somo)( ?[+-] ?\d+)?",
        r"nto|nbo|wannier( functions?)?|property: psi",
    ),
    "a wave function": (r"(pseudo[ -]?)?wave ?-?functions?|wave with eigenvalue|plotted wave|wfn",),
    "a localisation function": (
        r"elf[ab]?( s\d)?|elfcar|eli|eli-d|(electron )?locali[sz]ation function",
        r"lol[ab]?|locali[sz]ed[ -]orbital[ -]locator", r"property: (elf|lol)\w?",
    ),
    "a reduced density gradient": (
        r"rdg|nci|dori|iri|igmh?|reduced density gradient|non-?covalent interactions?",
        r"sign ?\(? ?(lambda|λ) ?_?2 ?\)? ?\*? ?rho|signlambda2rho",
    ),
    "a derivative of the density": (
        r"laplacian|lapl", r"(norm of )?(the )?((electron|charge) )*density (gradient|laplacian|hessian)",
        r"gradient of (the )?((electron|charge) )*density",
    ),
    "an energy density": (
        r"((positive|lagrangian|hamiltonian) )?kinetic[ -]energy( dens\w*)?|tau|taucar|lagkin|hamkin",
        r"((potential|total|xc) )?energy dens\w*",
    ),
    "a current or a field": (
        r"((probability|paramagnetic|charge) )*current dens\w*", r"(electric|magnetic)[ -]field|efield",
        r"(shielding|force) dens\w*",
    ),
}  # fmt: skip
_WORD = r"(?<![A-Za-z0-9])(?:{})(?![A-Za-z0-9])"
#: What a total density is called; "density" alone, too, where nothing of the above stands before it.
_TOTAL = _WORD.format(
    r"((pseudo-?|all-electron|valence|core|total|full|scf|electron(ic)?|number|charge|ground-state) )*"
    r"dens(ity|ities)?(?! (gradient|difference|laplacian|deformation|hessian|of states|functional|matrix))"
    r"|rho|chgcar|chg|e/bohr\^?3|(electronic )?charge|property: dt"
)
#: What looks like a quantity and is none.
_NOT_MEANT = (
    r"\b(alpha|spin[ -]?up|up) ?(\+|and|plus) ?(beta|spin[ -]?down|down)\b|\bpseudo[ -]?potentials?\b"
    r"|\borbital[ -]free\b|\bspin[ -]orbit\w*|\bdensity[ -]functional\b"
)
#: Words of a file's name that tell a quantity by themselves, as Multiwfn, CP2K and others name what they write.
_NAMES = {
    "a potential": r"locpot|v_?hartree|totesp|nucesp|esp|mep|hartree|potential",
    "a localisation function": r"elfcar|elf(_s\d)?|lol|eli-?d",
    "a spin density": r"spin[_-]?dens(ity)?",
    "an orbital": r"homo|lumo|somo|movalue|orbital|wannier",
    "a wave function": r"wfn",
    "a reduced density gradient": r"rdg|signlambda2rho|sl2r",
    "an energy density": r"taucar|lagkin|hamkin",
    "a derivative of the density": r"laplacian",
}
#: VASP's files in the layout of a CHGCAR whose values are no density. POT in capitals only: it is a word.
_VASP = re.compile(
    r"(?<![A-Za-z])(?:(?P<potential>LOCPOT|locpot|POT(?![A-Za-z]))|(?P<elf>ELFCAR|elfcar)|(?P<tau>TAUCAR|taucar)|"
    r"(?P<difference>CHGDIFF|chgdiff))"
)
_VASP_WORDS = {
    "potential": "a local potential in eV",
    "elf": "an electron localisation function",
    "tau": "an energy density",
    "difference": "a difference of densities",
}


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Quantity, "" for a total density, and what it is called: made at the first cube, as it takes a moment."""
    others = [(what, _WORD.format("|".join(names))) for what, names in _OTHERS.items()]
    return [(what, re.compile(pattern, re.IGNORECASE)) for what, pattern in [*others, ("", _TOTAL)]]


def quantity_of(comments: list[str]) -> str | None:
    """The quantity that comments name: "" for a total density, None where they name none.

    Of several names in a line the first one decides, as in "Electrostatic potential from Total SCF Density"; a spin
    density wherever it is named. The last line that names something decides: the first is a title.

    >>> quantity_of(["-Quickstep-", " V_HARTREE"]), quantity_of(["x", "Electron density from Total SCF Density"])
    ('a potential', '')
    >>> quantity_of(["Cube file from ASE", "OUTER LOOP: X, MIDDLE LOOP: Y, INNER LOOP: Z"]) is None
    True
    """
    for comment in reversed(comments):
        line = re.sub(_NOT_MEANT, " ", re.sub(r"[_\s]+", " ", comment[:_LONGEST]), flags=re.IGNORECASE)
        found = [(match.start(), -len(match[0]), what) for what, known in _patterns() if (match := known.search(line))]
        if any(what == "a spin density" for *_, what in found):
            return "a spin density"
        if found:
            return min(found)[2]
    return None


def quantity_of_name(name: str) -> str | None:
    """The quantity that a cube file's name tells by itself; None where it tells none.

    >>> quantity_of_name("water-v_hartree-1_0.cube"), quantity_of_name("Self.cube")
    ('a potential', None)
    """
    return next(
        (
            what
            for what, words in _NAMES.items()
            if re.search(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z])", name, re.IGNORECASE)
        ),
        None,
    )


def vasp_quantity(name: str) -> str | None:
    """What a file of VASP's in the layout of a CHGCAR holds by its name, where that is no density.

    >>> vasp_quantity("mp-1_LOCPOT"), vasp_quantity("POT.gz"), vasp_quantity("POTCAR")
    ('a local potential in eV', 'a local potential in eV', None)
    """
    match = _VASP.search(name)
    return match and _VASP_WORDS[match.lastgroup or ""]
