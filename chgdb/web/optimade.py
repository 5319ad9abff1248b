"""The structures of a catalog as OPTIMADE (specification 1.2), below /api/v1/optimade; filters by its own parser.

Needs the package `optimade` for the grammar of filters. Properties of ours begin with `_chgdb_`.
"""

from __future__ import annotations

import datetime
import re
from collections import Counter
from collections.abc import Awaitable, Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from lark import Token, Tree
from lark.exceptions import VisitError
from lark.visitors import Interpreter
from optimade.exceptions import BadRequest
from optimade.filterparser import LarkParser
from optimade.models import StructureResourceAttributes
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route

import chgdb
from chgdb import Catalog
from chgdb.errors import ChgdbError
from chgdb.web.api import plain
from chgdb.web.jobs import Queue

BASE = "/api/v1/optimade"
VERSION = "1.2.0"
PAGE, MOST = 20, 500
#: Characters of a filter, and brackets in brackets: its parser takes far longer for more, and needs a deeper stack.
LENGTH, DEPTH = 2000, 30
#: Properties that can be sorted by at once.
SORTED = 10
_PREFIX = "_chgdb_"
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


class Refused(Exception):
    """What the specification calls an error: its status, title and detail."""

    def __init__(self, status: int, title: str, detail: str) -> None:
        super().__init__(detail)
        self.status, self.title = status, title


#: name -> (type, description, unit, sortable). Properties that OPTIMADE defines and the catalog knows.
_DEFINED: dict[str, tuple[str, str, str | None, bool]] = {
    "id": ("string", "id of the material", None, True),
    "type": ("string", "structures", None, False),
    "immutable_id": ("string", "not used", None, False),
    "last_modified": ("timestamp", "when the store was written", None, True),
    "elements": ("list", "chemical symbols, in the alphabet's order", None, False),
    "nelements": ("integer", "number of elements", None, True),
    "elements_ratios": ("list", "fraction of each element", None, False),
    "chemical_formula_descriptive": ("string", "reduced formula", None, True),
    "chemical_formula_reduced": ("string", "elements in the alphabet's order", None, True),
    "chemical_formula_hill": ("string", "all atoms, in Hill's order", None, True),
    "chemical_formula_anonymous": ("string", "counts, largest first", None, True),
    "dimension_types": ("list", "periodic in three dimensions", None, False),
    "nperiodic_dimensions": ("integer", "3", None, True),
    "lattice_vectors": ("list", "one a row", "angstrom", False),
    "cartesian_site_positions": ("list", "one a site", "angstrom", False),
    "nsites": ("integer", "number of sites", None, True),
    "species_at_sites": ("list", "symbol of each site", None, False),
    "species": ("list", "one element each", None, False),
    "structure_features": ("list", "empty", None, False),
    "space_group_it_number": ("integer", "number of the space group", None, True),
}
_TYPES = {"f": "float", "i": "integer", "u": "integer", "O": "string"}


class Structures:
    """Columns of a catalog as OPTIMADE names them; what takes a record is read for the page that is asked for."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.store = catalog.store
        self.parser = LarkParser(version=(1, 2, 0))
        place = Path(catalog.path)
        moment = place.stat().st_mtime if place.exists() else 0.0
        stamp = datetime.datetime.fromtimestamp(moment, datetime.UTC).replace(microsecond=0)
        self._own_columns: dict[str, list[Any]] = {}
        self.modified = stamp.isoformat().replace("+00:00", "Z")

    @cached_property
    def ids(self) -> list[str]:
        return self.catalog.ids

    @cached_property
    def own(self) -> dict[str, str]:
        """Our names -> columns."""
        skipped = {"material_id", "formula", "elements", "space_group", "n_atoms", "cell", "grid", "channel_nmae"}
        internal = {"payload_offset", "extras_length", "atom_offset", "source_crc32c"}
        return {_PREFIX + name: name for name in self.catalog.columns if name not in skipped | internal}

    @cached_property
    def columns(self) -> dict[str, list[Any]]:
        """The values that filters ask for, one a material; None where it is not known."""
        counts = [_counted(formula) for formula in self.catalog.column("formula")]
        atoms = [int(n) for n in self.catalog.column("n_atoms")]
        symbols = [sorted(count) for count in counts]
        groups = [int(g) or None for g in self.catalog.column("space_group")]
        count = len(counts)
        found: dict[str, list[Any]] = {
            "id": self.ids,
            "type": ["structures"] * count,
            "immutable_id": [None] * count,
            "last_modified": [self.modified] * count,
            "elements": symbols,
            "nelements": [len(s) for s in symbols],
            "elements_ratios": [
                [c[s] / sum(c.values()) for s in names] for c, names in zip(counts, symbols, strict=True)
            ],
            "chemical_formula_descriptive": [str(f) for f in self.catalog.column("formula")],
            "chemical_formula_reduced": [_joined(sorted(c.items())) for c in counts],
            "chemical_formula_hill": [_hill(c, n) for c, n in zip(counts, atoms, strict=True)],
            "chemical_formula_anonymous": [_anonymous(c) for c in counts],
            "dimension_types": [[1, 1, 1]] * count,
            "nperiodic_dimensions": [3] * count,
            "nsites": atoms,
            "structure_features": [[]] * count,
            "space_group_it_number": groups,
        }
        return found

    def column(self, name: str) -> list[Any]:
        """Values of a property. Raises `Refused` if a filter cannot use it."""
        if name in self.own:
            if name not in self._own_columns:
                values = self.catalog.column(self.own[name])
                self._own_columns[name] = [plain(None if v == "" else v) for v in values.tolist()]
            return self._own_columns[name]
        if name in self.columns:
            return self.columns[name]
        if name in _DEFINED:
            raise Refused(501, "Not implemented", f"filters cannot ask for {name}")
        standard = name in StructureResourceAttributes.model_fields
        if not standard and (name.startswith(_PREFIX) or not name.startswith("_")):
            raise Refused(400, "Bad request", f"there is no property {name}")
        # A property of the standard that is not known here, or another database's: nothing is known of it.
        return [None] * len(self.ids)

    def found(self, text: str | None) -> np.ndarray:
        """Rows that meet a filter."""
        count = len(self.ids)
        if not text:
            return np.arange(count)
        _check_filter(text)
        try:
            tree = self.parser.parse(text)
        except BadRequest as error:
            raise Refused(400, "Bad request", f"the filter cannot be read: {error.detail}") from None
        try:
            return np.flatnonzero(Filter(self).visit(tree))
        except VisitError as error:
            if isinstance(error.orig_exc, Refused):
                raise error.orig_exc from None
            raise

    def entry(self, row: int, fields: set[str] | None) -> dict[str, Any]:
        """One structure as JSON:API has it."""
        material_id = self.ids[row]
        wanted = fields if fields is not None else {*_DEFINED, *self.own}
        attributes: dict[str, Any] = {}
        if wanted & {"lattice_vectors", "cartesian_site_positions", "species_at_sites", "species"}:
            crystal = self.catalog[material_id].crystal
            names = crystal.symbols
            attributes = {
                "lattice_vectors": crystal.cell.tolist(),
                "cartesian_site_positions": (crystal.positions @ crystal.cell).tolist(),
                "species_at_sites": names,
                "species": [{"name": s, "chemical_symbols": [s], "concentration": [1.0]} for s in dict.fromkeys(names)],
            }
        for name in [*self.columns, *self.own]:
            if name in wanted and name not in ("id", "type"):
                attributes[name] = self.column(name)[row]
        attributes = {name: value for name, value in attributes.items() if name in wanted}
        for name in wanted - set(attributes) - {"id", "type"}:
            attributes[name] = None
        return {"type": "structures", "id": material_id, "attributes": attributes}


class Filter(Interpreter):
    """Rows that meet a parsed filter, as an array of true and false. A value that is not known meets nothing."""

    def __init__(self, structures: Structures) -> None:
        self.structures = structures

    def _mask(self, name: str, test: Callable[[Any], bool]) -> np.ndarray:
        return np.array([value is not None and test(value) for value in self.structures.column(name)], bool)

    def filter(self, tree: Tree) -> np.ndarray:
        return self.visit(tree.children[0])

    def expression(self, tree: Tree) -> np.ndarray:
        return np.any([self.visit(child) for child in tree.children], axis=0)

    def expression_clause(self, tree: Tree) -> np.ndarray:
        return np.all([self.visit(child) for child in tree.children], axis=0)

    def expression_phrase(self, tree: Tree) -> np.ndarray:
        inner = self.visit(tree.children[-1])
        return ~inner if isinstance(tree.children[0], Token) and tree.children[0].type == "NOT" else inner

    def comparison(self, tree: Tree) -> np.ndarray:
        return self.visit(tree.children[0])

    def property_first_comparison(self, tree: Tree) -> np.ndarray:
        name = _property(tree.children[0])
        right = tree.children[1]
        return getattr(self, f"_{right.data}")(name, right)

    def constant_first_comparison(self, tree: Tree) -> np.ndarray:
        constant, operator, other = tree.children
        name = other.children[0]
        if not isinstance(name, Tree) or name.data != "property":
            raise Refused(501, "Not implemented", "a constant can be compared with a property alone")
        turned = {"<": ">", ">": "<", "<=": ">=", ">=": "<="}.get(str(operator), str(operator))
        return self._compared(_property(name), turned, _value(constant))

    def _compared(self, name: str, operator: str, wanted: Any) -> np.ndarray:
        values = self.structures.column(name)
        sample = next((v for v in values if v is not None), None)
        if isinstance(sample, list):
            raise Refused(400, "Bad request", f"{name} is a list: ask with HAS or LENGTH")
        if sample is not None and isinstance(sample, str) != isinstance(wanted, str):
            raise Refused(400, "Bad request", f"{name} cannot be compared with {wanted!r}")
        compare: dict[str, Callable[[Any], bool]] = {
            "=": lambda v: v == wanted, "!=": lambda v: v != wanted, "<": lambda v: v < wanted,
            ">": lambda v: v > wanted, "<=": lambda v: v <= wanted, ">=": lambda v: v >= wanted,
        }  # fmt: skip
        return self._mask(name, compare[operator])

    def _value_op_rhs(self, name: str, right: Tree) -> np.ndarray:
        operator, value = right.children
        return self._compared(name, str(operator), _value(value))

    def _known_op_rhs(self, name: str, right: Tree) -> np.ndarray:
        known = self._mask(name, lambda v: True)
        return known if str(right.children[-1]) == "KNOWN" else ~known

    def _fuzzy_string_op_rhs(self, name: str, right: Tree) -> np.ndarray:
        wanted = _value(right.children[-1])
        if not isinstance(wanted, str):
            raise Refused(400, "Bad request", f"{name}: CONTAINS, STARTS and ENDS take a text")
        kind = str(right.children[0])
        tests: dict[str, Callable[[str], bool]] = {
            "CONTAINS": lambda v: wanted in v, "STARTS": lambda v: v.startswith(wanted),
            "ENDS": lambda v: v.endswith(wanted),
        }  # fmt: skip
        return self._mask(name, lambda v: isinstance(v, str) and tests[kind](v))

    def _set_op_rhs(self, name: str, right: Tree) -> np.ndarray:
        kind = next((c.type for c in right.children if isinstance(c, Token) and c.type in ("ALL", "ANY", "ONLY")), "")
        if any(isinstance(c, Token) and c.type == "OPERATOR" for c in right.children):
            raise Refused(501, "Not implemented", "HAS with an operator")
        last = right.children[-1]
        if last.data == "value_list":
            if any(isinstance(c, Token) for c in last.children if c is not None):
                raise Refused(501, "Not implemented", "HAS with an operator")
            wanted = {_value(c) for c in last.children if c is not None}
        else:
            wanted = {_value(last)}
        tests: dict[str, Callable[[list], bool]] = {
            "": lambda v: wanted <= set(v), "ALL": lambda v: wanted <= set(v), "ANY": lambda v: bool(wanted & set(v)),
            "ONLY": lambda v: bool(v) and set(v) <= wanted,
        }  # fmt: skip
        return self._mask(name, lambda v: isinstance(v, list) and tests[kind](v))

    def _length_op_rhs(self, name: str, right: Tree) -> np.ndarray:
        operator = next((str(c) for c in right.children if isinstance(c, Token) and c.type == "OPERATOR"), "=")
        (signed,) = right.find_data("signed_int")
        wanted = int(str(signed.children[0]))
        compare: dict[str, Callable[[int], bool]] = {
            "=": lambda n: n == wanted, "!=": lambda n: n != wanted, "<": lambda n: n < wanted,
            ">": lambda n: n > wanted, "<=": lambda n: n <= wanted, ">=": lambda n: n >= wanted,
        }  # fmt: skip
        return self._mask(name, lambda v: isinstance(v, list) and compare[operator](len(v)))

    def _set_zip_op_rhs(self, name: str, right: Tree) -> np.ndarray:
        raise Refused(501, "Not implemented", f"{name}: correlated lists cannot be asked for")


def _check_filter(text: str) -> None:
    """Raises `Refused` for what would take too long."""
    if len(text) > LENGTH:
        raise Refused(400, "Bad request", f"the filter has {len(text)} characters, more than {LENGTH}: ask in parts")
    depth = deepest = 0
    for character in re.sub(r'"(?:\\.|[^"\\])*"', "", text):
        depth += (character == "(") - (character == ")")
        deepest = max(deepest, depth)
    if deepest > DEPTH:
        raise Refused(400, "Bad request", f"the filter has brackets {deepest} deep, more than {DEPTH}")


def _property(tree: Tree) -> str:
    if len(tree.children) > 1:
        raise Refused(501, "Not implemented", "nested properties cannot be asked for")
    return str(tree.children[0])


def _value(tree: Any) -> Any:
    """Text, number or truth of a value in a filter."""
    while isinstance(tree, Tree) and tree.data in ("value", "constant", "non_string_value"):
        tree = tree.children[0]
    if isinstance(tree, Tree):
        if tree.data == "string":
            return re.sub(r"\\(.)", r"\1", str(tree.children[0])[1:-1])
        if tree.data == "number":
            text = str(tree.children[0])
            return int(text) if re.fullmatch(r"[+-]?\d+", text) else float(text)
        if tree.data == "bool":
            return str(tree.children[0]) == "TRUE" if tree.children else False
        if tree.data == "property":
            raise Refused(501, "Not implemented", "properties cannot be compared with each other")
    raise Refused(400, "Bad request", "the filter has a value that cannot be read")


def _counted(formula: str) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for symbol, number in re.findall(r"([A-Z][a-z]?)(\d*)", str(formula)):
        counts[symbol] += int(number or 1)
    return dict(counts)


def _joined(pairs: list[tuple[str, int]]) -> str:
    return "".join(symbol + (str(n) if n > 1 else "") for symbol, n in pairs)


def _hill(counts: dict[str, int], atoms: int) -> str:
    times = atoms // max(1, sum(counts.values()))
    full = {s: n * times for s, n in counts.items()}
    first = [s for s in ("C", "H") if s in full] if "C" in full else []
    return _joined([(s, full[s]) for s in first + sorted(set(full) - set(first))])


def _anonymous(counts: dict[str, int]) -> str:
    numbers = sorted(counts.values(), reverse=True)
    return _joined(list(zip(_LETTERS, numbers, strict=False)))


class Answers:
    """The answers of the endpoints. A method makes the JSON of one endpoint."""

    def __init__(self, catalog: Catalog, queue: Queue) -> None:
        self.catalog = catalog
        self.queue = queue
        self._structures = Structures(catalog)

    def current(self) -> Structures:
        """Structures of the store as it is now: it may have been replaced since the last request."""
        self.catalog.consistent(lambda store: None)
        if self._structures.store is not self.catalog.store:
            self._structures = Structures(self.catalog)
        return self._structures

    def endpoint(self, handle: Callable[[Request], dict[str, Any]]) -> Callable[[Request], Awaitable[JSONResponse]]:
        """`handle`, when it is its turn, with its errors as the specification states them."""

        async def answer(request: Request) -> JSONResponse:
            try:
                return await self.queue.run(lambda: answered(request))
            except HTTPException as full:
                return refusal(request, full.status_code, "Service unavailable", full.detail)

        def answered(request: Request) -> JSONResponse:
            try:
                return JSONResponse(handle(request), media_type="application/vnd.api+json")
            except Refused as refused:
                return refusal(request, refused.status, refused.title, str(refused))
            except ChgdbError as error:
                return refusal(request, 500, "Internal server error", str(error))

        def refusal(request: Request, status: int, title: str, detail: str) -> JSONResponse:
            body = {
                "errors": [{"status": str(status), "title": title, "detail": detail}],
                "meta": _meta(request, self._structures, 0, 0, False),
            }
            return JSONResponse(body, status, media_type="application/vnd.api+json")

        return answer

    def many(self, request: Request) -> dict[str, Any]:
        _check(request)
        structures = self.current()
        query = request.query_params
        rows = structures.found(query.get("filter"))
        rows = _sorted(structures, rows, query.get("sort"))
        limit = _whole(query.get("page_limit", str(PAGE)), "page_limit", MOST)
        offset = _whole(query.get("page_offset", "0"), "page_offset", None)
        page = rows[offset : offset + limit]
        more = offset + limit < len(rows)
        links: dict[str, Any] = {"next": None}
        if more:
            pairs = [(k, v) for k, v in query.multi_items() if k != "page_offset"]
            url = request.url.replace_query_params(**dict(pairs), page_offset=offset + limit)
            links["next"] = str(url)
        fields = _fields(structures, query.get("response_fields"))
        return {
            "data": [structures.entry(int(row), fields) for row in page],
            "links": links,
            "meta": _meta(request, structures, len(page), len(rows), more),
        }

    def one(self, request: Request) -> dict[str, Any]:
        _check(request)
        structures = self.current()
        fields = _fields(structures, request.query_params.get("response_fields"))
        material_id = request.path_params["material_id"]
        known = structures.columns["id"]
        data = structures.entry(known.index(material_id), fields) if material_id in known else None
        count = int(data is not None)
        return {"data": data, "meta": _meta(request, structures, count, count, False)}

    def info(self, request: Request) -> dict[str, Any]:
        _check(request)
        structures = self.current()
        base = str(request.base_url).rstrip("/") + BASE
        attributes = {
            "api_version": VERSION,
            "available_api_versions": [{"url": f"{base}/v1/", "version": VERSION}],
            "formats": ["json"],
            "entry_types_by_format": {"json": ["structures"]},
            "available_endpoints": ["structures", "info", "links"],
            "is_index": False,
        }
        data = {"type": "info", "id": "/", "attributes": attributes}
        return {"data": data, "meta": _meta(request, structures, 1, 1, False)}

    def described(self, request: Request) -> dict[str, Any]:
        _check(request)
        structures = self.current()
        properties = {
            name: {"type": kind, "description": text, "sortable": sortable, **({"unit": unit} if unit else {})}
            for name, (kind, text, unit, sortable) in _DEFINED.items()
        }
        for name, column in structures.own.items():
            about = self.catalog.columns[column]
            kind = _TYPES.get(self.catalog.column(column).dtype.kind, "float")
            properties[name] = {"type": kind, "description": str(about.get("long_name", column)), "sortable": True}
            if about.get("units"):
                properties[name]["unit"] = str(about["units"])
        data = {
            "type": "info", "id": "structures", "description": "crystal structures, each with its charge density",
            "properties": properties, "formats": ["json"], "output_fields_by_format": {"json": list(properties)},
        }  # fmt: skip
        return {"data": data, "meta": _meta(request, structures, 1, 1, False)}

    def links(self, request: Request) -> dict[str, Any]:
        _check(request)
        structures = self.current()
        base = str(request.base_url).rstrip("/") + BASE
        title = str(self.catalog.attributes.get("title", "chgdb"))
        attributes = {
            "name": "chgdb", "description": title, "base_url": base, "homepage": None, "link_type": "root",
        }  # fmt: skip
        data = [{"type": "links", "id": "chgdb", "attributes": attributes}]
        return {"data": data, "links": {"next": None}, "meta": _meta(request, structures, 1, 1, False)}


def routes(catalog: Catalog, queue: Queue) -> list[Route]:
    """All of OPTIMADE's routes for a catalog. queue: where requests wait for each other."""
    answers = Answers(catalog, queue)
    paths: dict[str, Callable[[Request], dict[str, Any]]] = {
        "/structures": answers.many,
        "/structures/{material_id:path}": answers.one,
        "/info": answers.info,
        "/info/structures": answers.described,
        "/links": answers.links,
    }
    found = [Route(f"{BASE}/versions", _versions)]
    for prefix in ("", "/v1", "/v1.2", "/v1.2.0"):
        found += [Route(f"{BASE}{prefix}{path}", answers.endpoint(handle)) for path, handle in paths.items()]
    return found


def _versions(request: Request) -> PlainTextResponse:
    return PlainTextResponse("version\n1\n", media_type="text/csv; header=present")


def _check(request: Request) -> None:
    """Parameters that OPTIMADE has, or that begin with the prefix of another database."""
    known = {"filter", "response_format", "email_address", "response_fields", "sort", "page_limit", "page_offset"}
    known |= {"include", "api_hint", "page_number", "page_cursor", "page_above", "page_below"}
    for name in request.query_params:
        if name not in known and not name.startswith("_"):
            raise Refused(400, "Bad request", f"there is no parameter {name}")
    if request.query_params.get("response_format", "json") != "json":
        raise Refused(400, "Bad request", "responses are JSON alone: response_format=json")
    if request.query_params.get("include") not in (None, "", "references"):
        raise Refused(400, "Bad request", "structures have no such relationship to include")
    hint = request.query_params.get("api_hint")
    if hint is not None and not re.fullmatch(r"v\d+(\.\d+)?", hint):
        raise Refused(400, "Bad request", "api_hint is a version such as v1 or v1.2")


def _whole(text: str, name: str, most: int | None) -> int:
    if not re.fullmatch(r"\d{1,9}", text):
        raise Refused(400, "Bad request", f"{name} is a whole number, not {text!r}")
    number = int(text)
    if most is not None and number > most:
        raise Refused(403, "Forbidden", f"the maximum of {name} is {most}")
    return number


def _fields(structures: Structures, text: str | None) -> set[str] | None:
    if not text:
        return None
    names = {name.strip() for name in text.split(",")}
    unknown = names - set(StructureResourceAttributes.model_fields) - set(_DEFINED) - set(structures.own)
    wrong = sorted(name for name in unknown if name.startswith(_PREFIX) or not name.startswith("_"))
    if wrong:
        raise Refused(400, "Bad request", f"there is no property {wrong[0]}")
    return names


def _sorted(structures: Structures, rows: np.ndarray, text: str | None) -> np.ndarray:
    order = [int(row) for row in rows]
    by = [part.strip() for part in (text or "").split(",") if part.strip()]
    if len(by) > SORTED:
        raise Refused(400, "Bad request", f"sort names {len(by)} properties, more than {SORTED}")
    for name in reversed(by):
        down = name.startswith("-")
        bare = name.removeprefix("-")
        if bare in _DEFINED and not _DEFINED[bare][3]:
            raise Refused(400, "Bad request", f"structures cannot be sorted by {bare}")
        values = structures.column(bare)
        known = [row for row in order if values[row] is not None]
        known.sort(key=lambda row: values[row], reverse=down)
        order = known + [row for row in order if values[row] is None]
    return np.array(order, int)


def _meta(request: Request, structures: Structures, shown: int, found: int, more: bool) -> dict[str, Any]:
    path = request.url.path.removeprefix(BASE)
    query = f"?{request.url.query}" if request.url.query else ""
    now = datetime.datetime.now(datetime.UTC).replace(microsecond=0)
    return {
        "query": {"representation": re.sub(r"^/v[\d.]+", "", path) + query},
        "api_version": VERSION,
        "more_data_available": more,
        "time_stamp": now.isoformat().replace("+00:00", "Z"),
        "data_returned": found,
        "data_available": len(structures.ids),
        "provider": {
            "name": "chgdb", "description": "compressed charge densities", "prefix": "chgdb", "homepage": None,
        },
        "implementation": {"name": "chgdb", "version": chgdb.__version__},
    }  # fmt: skip
