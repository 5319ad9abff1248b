"""The quantity in a file, where the comments of a cube or a name say it.

Programs write every field on a grid in the layouts of densities: potentials, orbitals, spin densities, localisation
functions. The numbers alone do not tell the quantity. A file that says nothing counts as the total density.
"""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache

from ..channels import DIFFERENCE, QUANTITIES, SUM
from ..density import Density, ScalarField

_LONGEST = 200  # characters of a comment that are searched
#: Quantity -> its names in programs, as regular expressions of whole words; underscores are blanks. See `quantity_of`.
_OTHERS = {
    "a spin density": (
        r"spin[ -]*((up|down|scf|mp2|ci|cc|difference|polari[sz]ation) )*dens\w*",
        r"(spin )?magneti[sz]ation( dens\w*)?", r"(spin )?(alpha|up) ?(-|minus) ?(spin )?(beta|down|dn)",
        r"property: ds|spinpol",
        r"rho ?\(?(alpha|up)\)? ?- ?rho ?\(?(beta|down|dn)\)?",
    ),
    "the density of one spin": (
        r"(alpha|beta|spin[ -]?(up|down|alpha|beta)|(up|down)[ -]spin|majority|minority)"
        r"( (spin|scf|mp2|ci|cc|electron|charge))* dens\w*", r"property: d[ab]", r"spin[ -](up|down|alpha|beta)",
        r"((electron|charge) )*dens\w* (from|of) (the )?(alpha|beta|spin[ -]?(up|down))( \w+)*",
        r"rho ?\(?(alpha|beta|up|down|dn)\)?",
    ),
    "a difference of densities": (
        r"((electron|charge|density) )*(density|charge) (difference|deformation|response|perturbation)",
        r"((electron|charge) )*dens\w* (from|of) (the )?(transition|attachment|detachment|particle|hole)( \w+)*",
        r"abs2diff|((electron|charge|total|scf) )*dens\w* minus( \w+)+|minus (the )?(pro|free|isolated|atom)\w*",
        r"((electronic|electron|charge|valence|total|scf) )*((dens\w*|charge|rho),? )?(with )?"
        r"(promolecul\w*|(superposition of )?atom\w*( dens\w*)?) (was |were |is |are )?(subtracted|removed)",
        r"(difference|deformation|bonding|delta)[ -]((electron|charge) )*(dens\w*|charge)",
        r"(transition|attachment|detachment|electron-hole|hole|particle|response|induced|fukui) (charge )?dens\w*",
        r"chgdiff|drho|delta ?rho|fukui( function)?|(property: )?dual( descriptor)?",
    ),
    "a potential": (
        r"(\w*static |hartree |coulomb )?potentials?(?! (energy|surface))",
        r"v[ -]?(hartree|h|xc|tot|eff|ext|bare|loc|ks)|(?<=\.)VT", r"(\w*static|ext\w*|local|hartree|xc|total) pot",
        r"esp|mep|totesp|nucesp|locpot|property: esp",
    ),
    "the density of an orbital or of states in a window": (
        r"(homo|lumo|somo|orbital|band|eigenstate) (charge )?dens\w*",
        r"i?ldos|local dos|((integrated|local) )*density of states|stm",
        r"((electron|charge|partial|total|scf) )*dens\w* (of|at|in) "
        r"(the )?(homo|lumo|somo|energy|bands?( \d+)?|orbitals?|eigenstate|(?-i:MO)|state)",
        r"fod|fractional(ly)? occup\w*( number)?( weighted)?( electron)? dens\w*",
        r"partial density|\|psi.*\|( ?\^ ?2|²)?", r"state: *\d+, *abs2",
    ),
    "an orbital": (
        r"((molecular|natural|kohn-sham|canonical|locali[sz]ed|atomic|bloch|crystal) )*orbitals?",
        r"(?-i:MO)[ =#:]+\d+[ab]?|mo\.\d+|mo (coeff\w*|values?|number \d+)|mo ?= ?\w+|movalue|type: mo",
        r"(homo|lumo|somo)( ?[+-] ?\d+)?", r"nto|nbo|(?-i:QRO|UNO)( \d+)?|wannier( functions?)?|property: (psi|phi)",
    ),
    "a wave function": (
        r"(pseudo[ -]?)?wave ?-?functions?|wave with eigenvalue|plotted wave|(?-i:WFN|wfn?c?)|(?<=\.)WF",
        r"(?-i:psi)( ?\(?\d+\)?)?",
        r"state: *\d+, *(real|imag\w*)",
    ),
    "a localisation function": (
        r"elf[ab]?( s\d)?|elfcar|eli|eli-d|(electron )?locali[sz]ation function",
        r"lol[ab]?|locali[sz]ed[ -]orbital[ -]locator", r"property: (elf|lol)\w?",
    ),
    "a reduced density gradient": (
        r"rdg|nci|dori|iri|igmh?|reduced density gradient|non-?covalent interactions?",
        r"sign ?\(? ?(lambda|λ|l) ?_?2 ?\)? ?\*? ?rho|signlambda2rho",
    ),
    "a derivative of the density": (
        r"laplacian|lapl", r"(norm of )?(the )?((electron|charge) )*density (gradient|laplacian|hessian)",
        r"gradient of (the )?((electron|charge) )*density", r"\|? ?(grad(ient)?|nabla|∇)[ (]*rho\)?( ?\|)?",
    ),
    "an energy density": (
        r"((positive|lagrangian|hamiltonian) )?kinetic[ -]energy( dens\w*)?|tau|taucar|lagkin|hamkin",
        r"((potential|total|xc|exchange-correlation) )?energy dens\w*|(?-i:EXC)|local (energy|stress)",
        r"(average )?local ioni[sz]ation energy|alie",
    ),
    "a current or a field": (
        r"((probability|paramagnetic|charge) )*current dens\w*", r"(electric|magnetic)[ -]field|efield",
        r"(shielding|force) dens\w*",
    ),
    "the charge of electrons and nuclei": (
        r"(?<=\.)TOCH", r"electron(s|ic)? ?(\+|and) ?(nucle\w*|ion\w*|core)( charges?)?",
    ),
}  # fmt: skip
_WORD = r"(?<![A-Za-z0-9])(?:{})(?![A-Za-z0-9])"
#: Names of a total density. "density" alone is one, too, where no name above stands before it.
_TOTAL = _WORD.format(
    r"((pseudo-?|all-electron|valence|core|total|full|scf|electron(ic)?|number|charge|ground-state) )*"
    r"dens(ity|ities)?(?! (gradient|difference|laplacian|deformation|hessian|of states|functional|matrix))"
    r"|rho|chgcar|chg|e/bohr\^?3|(electronic )?charge|property: dt"
)
#: Texts that look like a quantity and are none.
_NOT_MEANT = (
    r"\b(rho ?\(?)?(alpha|spin[ -]?up|up)\)? ?(\+|and|plus) ?(rho ?\(?)?(beta|spin[ -]?down|down|dn)\b\)?"
    r"|\bpseudo[ -]?potentials?\b|\borbital[ -]free\b|\bspin[ -]orbit\w*|\bdensity[ -]functional\b"
)
_PER_ANGSTROM = (
    r"\b(e|electrons?) ?(/|per) ?(cubic (A|Å|angstrom|ångström)|(A|Å|ang|(a|å)ngstr(o|ö)ms?)( ?(\^|\*\*)? ?3|³))(?!\w)"
    r"|\b(e|electrons?)[ *.](A|Å|Ang|Angstrom)(\^|\*\*)?\(?[-−]3"
)
#: Words of a file's name that alone tell a quantity, as Multiwfn, CP2K and others name their files. Capitals matter in
#: the short ones, which are formulas otherwise: VH, WF6, PSi, Mo12.
_NAMES = {
    "a potential": r"locpot|v_?hartree|totesp|nucesp|esp|mep|hartree|potential|pot"
    r"|(?-i:v_?(h|t|xc|ks|ext|tot|eff|loc))",
    "a localisation function": r"elfcar|elf(_(s\d|rs))?|lol|eli-?d",
    "a spin density": r"spin[_-]?dens(ity)?|spinpol",
    "a difference of densities": r"(chg|charge|rho|dens(ity)?)[_-]?diff(erence)?|(delta|diff(erence)?|deformation)[_-]?"
    r"(rho|dens(ity)?|charge|chg)|drho|(trans|transition)[_-]?dens(ity)?|abs2diff",
    "the density of an orbital or of states in a window": r"i?ldos|stm|(eigenstate|band|orbital)[_-]dens(ity)?",
    "an orbital": r"homo|lumo|somo|movalue|orbital|eigenstate|wannier|(?-i:mo[._-]?|MO[._-])\d+",
    "a wave function": r"wfn|wavefunctions?|(?-i:wfc?|[pP]si)(?![A-Za-z])",
    "a reduced density gradient": r"rdg|signlambda2rho|sl2r|dori",
    "an energy density": r"taucar|lagkin|hamkin",
    "a derivative of the density": r"laplacian",
}
#: Further names of Multiwfn's files. Its comments tell nothing, and other programs' files may have these names, too.
_MULTIWFN = {
    "a derivative of the density": r"gradient",
    "a reduced density gradient": r"iri|igmh?|dg(_\w+)?|delta_g\w*",
    "a difference of densities": r"hole|electron|c?hole|cele|cdd|transdens",
    "an orbital": r"(orb|h)\d+",
    "an energy density": r"alie|lea|avglocion",
    "another function of the density": r"fermihole|infoentro|source|edr\w*|userfunc|vdwpot",
}
#: VASP's files in the layout of a CHGCAR whose values are not a density. POT in capitals only, because it is a word.
_VASP = (
    r"(?<![A-Za-z])(?:(?P<potential>LOCPOT|locpot|POT(?![A-Za-z]))|(?P<elf>ELFCAR|elfcar)|(?P<tau>TAUCAR|taucar)|"
    r"(?P<difference>CHGDIFF|chgdiff)|CHG(CAR)?[._-]((?P<minus>diff)|(?P<magnetisation>mag))(?![A-Za-z]))"
)
_VASP_WORDS = {
    "potential": "a local potential in eV",
    "elf": "an electron localisation function",
    "tau": "an energy density",
    "difference": "a difference of densities",
    "minus": "a difference of densities",
    "magnetisation": "a spin density",
}


@cache
def _patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Quantity ("" for a total density) and its pattern. Compiled for the first cube, because it takes time."""
    others = [(what, _WORD.format("|".join(names))) for what, names in _OTHERS.items()]
    return [(what, re.compile(pattern, re.IGNORECASE)) for what, pattern in [*others, ("", _TOTAL)]]


#: Beginnings of the comments that `labelled` writes, in lower case -> the quantity.
_OURS = {f"{quantity}:": quantity for quantity in (DIFFERENCE, SUM, *QUANTITIES.values()) if "total" not in quantity}


def our_quantity(comment: str) -> str | None:
    """The quantity of a `ScalarField` that the comment of a file of chgdb names. None for all other comments.

    >>> our_quantity("density difference: AB - A - B"), our_quantity("density difference of AB")
    ('density difference', None)
    """
    return next((quantity for start, quantity in _OURS.items() if comment.lower().startswith(start)), None)


def labelled(density: Density) -> Density:
    """The density with a comment that says what its values are, where they are not a total density."""
    comment = str(density.extras.get("comment", ""))
    if not isinstance(density, ScalarField) or our_quantity(comment) == density.quantity:
        return density
    named = f"{density.quantity}: {comment.strip() or density.crystal.formula}"
    return replace(density, extras={**density.extras, "comment": named})


def as_labelled(density: Density) -> Density:
    """The `ScalarField` of a file whose comment says that it holds one. Any other density stays as it is."""
    quantity = our_quantity(str(density.extras.get("comment", "")))
    if quantity is None or isinstance(density, ScalarField):
        return density
    return ScalarField(density.crystal, density.channels, density.extras, quantity)


def quantity_of(comments: list[str]) -> str | None:
    """The quantity that comments name: "" for a total density, None where they name none.

    The first of several names in a line decides, as in "Electrostatic potential from Total SCF Density"; but a spin
    density decides anywhere. The last line with a name decides: the first one is a title.

    >>> quantity_of(["-Quickstep-", " V_HARTREE"]), quantity_of(["x", "Electron density from Total SCF Density"])
    ('a potential', '')
    >>> quantity_of(["Cube file from ASE", "OUTER LOOP: X, MIDDLE LOOP: Y, INNER LOOP: Z"]) is None
    True
    """
    title, rest = comments[0].strip().lower(), " ".join(comments[1:]).strip().lower()
    if title.endswith("generated by pymatgen"):
        return "values as pymatgen had them, of a CHGCAR ρ·V and of a cube e/bohr^3"
    if rest == "total density" and title == "-quickstep-":
        return "the charge of electrons and nuclei"
    if rest == "total scf density" and "pwscf" in title:  # pp.x writes it whatever it plots
        return None
    for comment in reversed(comments):
        line = re.sub(_NOT_MEANT, " ", re.sub(r"[_\s]+", " ", comment[:_LONGEST]), flags=re.IGNORECASE)
        found = [(match.start(), -len(match[0]), what) for what, known in _patterns() if (match := known.search(line))]
        if any(what == "a spin density" for *_, what in found):
            return "a spin density"
        if found:
            return min(found)[2]
    return None


def is_per_angstrom(comments: list[str]) -> bool:
    """Whether comments say that values are per cubic angstrom. Otherwise those of a cube are per cubic bohr.

    >>> is_per_angstrom(["NaCl", "density (e/A^3)"]), is_per_angstrom(["NaCl", "density in e/bohr^3"])
    (True, False)
    """
    return any(re.search(_PER_ANGSTROM, comment[:_LONGEST], re.IGNORECASE) for comment in comments)


def quantity_of_name(name: str, comments: list[str] | None = None) -> str | None:
    """The quantity that the name of a cube file tells by itself. None where it tells none.

    comments: of the file; they say which program chose the name.

    >>> quantity_of_name("water-v_hartree-1_0.cube"), quantity_of_name("Self.cube")
    ('a potential', None)
    """
    of_multiwfn = any("multiwfn" in comment.lower() for comment in comments or [])
    known = [*_NAMES.items(), *(_MULTIWFN.items() if of_multiwfn else [])]
    return next(
        (what for what, words in known if re.search(rf"(?<![A-Za-z0-9])(?:{words})(?![A-Za-z])", name, re.IGNORECASE)),
        None,
    )


def vasp_quantity(name: str, channels: int | None = None) -> str | None:
    """The quantity that the name of a file in the layout of a CHGCAR tells. None where it may be a density.

    channels: number in a file that was read. chgdiff.pl writes CHGCAR_diff, chgsplit.pl CHGCAR_mag with the spin
    density alone (with more channels it is a whole CHGCAR). Files of chgdb with such a name say themselves what they
    hold.

    >>> vasp_quantity("mp-1_LOCPOT"), vasp_quantity("POT.gz"), vasp_quantity("POTCAR")
    ('a local potential in eV', 'a local potential in eV', None)
    """
    match = re.search(_VASP, name)
    if match and ((match["minus"] and channels is None) or (match["magnetisation"] and channels != 1)):
        return None
    return match and next(what for known, what in _VASP_WORDS.items() if match[known])
