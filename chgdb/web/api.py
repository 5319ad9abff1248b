"""The REST API, /api/v1: materials, records, densities, slices. Its description is at /api/v1/openapi.json."""

from __future__ import annotations

import enum
import math
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import google_crc32c
import numpy as np
from fastapi import APIRouter, HTTPException, Query
from fastapi import Path as InPath
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response

import chgdb
from chgdb import Catalog, Record, formats
from chgdb.criteria import parse
from chgdb.errors import ChgdbError, DensityError, OfflineError, RemoteError, StoreError, UnknownMaterialError
from chgdb.predicted import PROPERTIES, View, names
from chgdb.web.jobs import Queue
from chgdb.web.planes import Plane, plane

VIEW = f"view/{PROPERTIES}/"
#: Points that a grid asked for may have: what a page draws, and a server makes at once.
MAX_POINTS = 1 << 24
_INTERNAL = ("payload_offset", "extras_length", "atom_offset", "source_crc32c")

MaterialId = Annotated[str, InPath(max_length=200, description="id of a material")]
Problems = dict[int | str, dict[str, Any]]


class Problem(BaseModel):
    """What was wrong, where, and what to do."""

    detail: str


PROBLEMS: Problems = {
    400: {"model": Problem, "description": "a criterion, column or grid that cannot be"},
    404: {"model": Problem, "description": "no such material"},
    422: {"model": Problem, "description": "a parameter that is missing, too long or out of its range"},
    500: {"model": Problem, "description": "the store is damaged"},
    502: {"model": Problem, "description": "the store's server does not answer"},
    503: {"model": Problem, "description": "too many jobs are waiting"},
}
#: Responses of a route that answers with bytes.
BINARY: Problems = {200: {"content": {"application/octet-stream": {"schema": {"type": "string"}}}}}


class Column(BaseModel):
    """A column, or a predicted property (its name begins with view/properties/)."""

    name: str
    label: str
    units: str
    text: bool
    truth: bool  # 1 true, 0 false, -1 unknown
    attributes: dict[str, Any]


class StoreFacts(BaseModel):
    materials: int
    attributes: dict[str, Any]
    columns: list[Column]


class Values(BaseModel):
    """One value a material, in the store's order; null where it is not known."""

    name: str
    values: list[float | str | None]


class Row(BaseModel):
    """Columns of one material; numbers that are not known are null."""

    model_config = ConfigDict(extra="allow")
    material_id: str


class Materials(BaseModel):
    total: int
    limit: int
    offset: int
    data: list[Row]


class Material(BaseModel):
    id: str
    row: int
    columns: dict[str, Any]
    predictions: dict[str, Any]
    priors: list[int]
    extras_bytes: int


class Prior(BaseModel):
    """Atomic densities: 36 B-spline coefficients an element (docs/format.md, section 4.2)."""

    numbers: list[int]
    coefficients: list[float]


class Elements(enum.StrEnum):
    all = "all"
    only = "only"


#: Formats that are written, those of other packages too, and what their files are to a browser.
WRITTEN = {
    name: "application/octet-stream" if getattr(module, "BINARY", False) else "text/plain"
    for name, module in formats.formats().items()
    if hasattr(module, "write")
}
FormatWritten = Annotated[str, Query(max_length=40, json_schema_extra={"enum": list(WRITTEN)})]


def problem(error: ChgdbError, catalog: Catalog) -> HTTPException:
    """As HTTP states it, without where things lie on this machine."""
    if isinstance(error, UnknownMaterialError):
        status = 404
    elif isinstance(error, RemoteError | OfflineError):
        status = 502
    elif isinstance(error, StoreError | DensityError):
        status = 400
    else:
        status = 500
    return HTTPException(status, str(error).replace(catalog.path, "the store"))


def unfit(request: Request, error: Exception) -> JSONResponse:
    """One line for parameters and bodies that do not fit the description: which, what of it, what came."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "the body"
    given = first.get("input")
    came = f", not {str(given)[:40]!r}" if isinstance(given, str | int | float) else ""
    return JSONResponse({"detail": f"{where}: {first['msg']}{came}"}, 422)


def plain(value: Any) -> Any:
    """As JSON can state it: what is no number becomes null."""
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, list):
        return [plain(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def router(catalog: Catalog, queue: Queue) -> APIRouter:
    """All routes of a catalog that only read it. queue: where decoding waits."""
    api = APIRouter(prefix="/api/v1", responses=PROBLEMS)
    _add_tables(api, catalog)
    _add_records(api, catalog)
    _add_values(api, catalog, queue)
    return api


def _record(catalog: Catalog, material_id: str) -> Record:
    try:
        return catalog[material_id]
    except ChgdbError as error:
        raise problem(error, catalog) from None


def _row(catalog: Catalog, material_id: str) -> int:
    found = catalog.consistent(lambda store: store.find(material_id))
    if found is None:
        raise UnknownMaterialError(f"the store has no material {material_id!r}")
    return found.row


def _add_tables(api: APIRouter, catalog: Catalog) -> None:
    """The store, its columns, and searches of it."""

    @api.get("/store", summary="What the store holds")
    def store() -> StoreFacts:
        return StoreFacts(materials=len(catalog), attributes=catalog.attributes, columns=list(describe(catalog)))

    @api.get("/columns", summary="A whole column")
    def column(name: Annotated[str, Query(max_length=200)]) -> Values:
        try:
            values = prediction(catalog, name) if name.startswith(VIEW) else catalog.column(name)
        except ChgdbError as error:
            raise problem(error, catalog) from None
        if values.ndim > 1:
            raise HTTPException(400, f"column {name} holds several values a material: ask for the materials")
        return Values(name=name, values=plain(values))

    @api.get("/materials", summary="Materials that meet criteria")
    def materials(
        elements: Annotated[str | None, Query(max_length=400, description="such as Li,O")] = None,
        mode: Annotated[Elements, Query(description="all of them occur, or these and no others")] = Elements.all,
        formula: Annotated[str | None, Query(max_length=200)] = None,
        where: Annotated[list[str] | None, Query(max_length=20, description="such as band_gap:1..3")] = None,
        predicted: Annotated[list[str] | None, Query(max_length=20, description="such as bulk_modulus:200..")] = None,
        columns: Annotated[str | None, Query(max_length=2000, description="names, separated by commas")] = None,
        sort: Annotated[str | None, Query(max_length=200, description="a column; -COLUMN descending")] = None,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        offset: Annotated[int, Query(ge=0, le=1 << 31)] = 0,
    ) -> Materials:
        try:
            found = catalog.search(
                elements=elements if mode is Elements.all else None,
                chemical_system=elements if mode is Elements.only else None,
                formula=formula,
                where=[parse(text) for text in where or []],
                predicted=[parse(text) for text in predicted or []],
            )
            places = {material_id: row for row, material_id in enumerate(catalog.ids)}
            order = [places[i] for i in found]
            if sort:
                order = _sorted(order, catalog.column(sort.removeprefix("-")), sort.startswith("-"))
            wanted = [c.strip() for c in columns.split(",")] if columns else _default_columns(catalog)
            values = {name: catalog.column(name) for name in dict.fromkeys(["material_id", *wanted])}
        except ChgdbError as error:
            raise problem(error, catalog) from None
        page = order[offset : offset + limit]
        data = [Row(**{name: plain(column[row]) for name, column in values.items()}) for row in page]
        return Materials(total=len(order), limit=limit, offset=offset, data=data)


def _add_records(api: APIRouter, catalog: Catalog) -> None:
    """One material: what is known of it, its record, the prior of its record."""

    @api.get("/materials/{material_id}", summary="All that is known of one material")
    def material(material_id: MaterialId) -> Material:
        found = _record(catalog, material_id)
        try:
            facts = {k: plain(v) for k, v in found.metadata.items() if k not in _INTERNAL}
            row = _row(catalog, material_id)
            predictions = {
                VIEW + name: plain(prediction(catalog, VIEW + name)[row]) for name in names(catalog, PROPERTIES)
            }
            priors = [int(i) for i in catalog.attributes.get("priors", [])]
            return Material(
                id=material_id, row=row, columns=facts, predictions=predictions, priors=priors,
                extras_bytes=len(found.extras),
            )  # fmt: skip
        except ChgdbError as error:
            raise problem(error, catalog) from None

    @api.get("/materials/{material_id}/record", response_class=Response, responses=BINARY, summary="The record")
    def raw(material_id: MaterialId) -> Response:
        """The bytes as they lie in the store (docs/format.md, section 2.2): payload, extras, CRC-32C."""
        found = _record(catalog, material_id)
        try:
            body = found.payload + found.extras
        except ChgdbError as error:
            raise problem(error, catalog) from None
        body += int(google_crc32c.value(body)).to_bytes(4, "little")
        return Response(body, media_type="application/octet-stream")

    @api.get("/priors/{prior_id}", summary="Atomic densities that records are coded against")
    def prior(prior_id: Annotated[int, InPath(ge=0, le=1 << 16)]) -> Prior:
        try:
            found = catalog.consistent(lambda store: store.prior(prior_id))
        except ChgdbError:
            raise HTTPException(404, f"the store has no prior {prior_id}") from None
        return Prior(numbers=found.numbers.tolist(), coefficients=found.coefficients.ravel().tolist())


def _add_values(api: APIRouter, catalog: Catalog, queue: Queue) -> None:
    """What a record decodes to: the density as a file, and its values on a plane."""
    text: Problems = {200: {"content": {m: {"schema": {"type": "string"}} for m in sorted(set(WRITTEN.values()))}}}

    @api.get("/materials/{material_id}/density", response_class=Response, responses=text, summary="The density")
    async def density(
        material_id: MaterialId,
        format: FormatWritten = "chgcar",
        grid: Annotated[str | None, Query(pattern=r"^\d{1,4}x\d{1,4}x\d{1,4}$", description="such as 48x48x48")] = None,
    ) -> FileResponse:
        """As a file that other programs read, on its own grid or another."""
        if format not in WRITTEN:
            raise HTTPException(400, f"no format {format!r} is written here; there are {', '.join(WRITTEN)}")
        points = None if grid is None else tuple(int(n) for n in grid.split("x"))
        if points is not None and not 0 < math.prod(points) <= MAX_POINTS:
            raise HTTPException(400, f"a grid of {grid} points: give from 1 to {MAX_POINTS} in all")
        folder = tempfile.TemporaryDirectory(prefix="chgdb-web-")
        path = Path(folder.name) / f"density{formats.ending(format)}"

        def written() -> None:
            decoded = _record(catalog, material_id).decode(points)  # type: ignore[arg-type]
            chgdb.write(path, decoded, format=format)

        try:
            await queue.run(written)
        except ChgdbError as error:
            folder.cleanup()
            raise problem(error, catalog) from None
        except BaseException:
            folder.cleanup()
            raise
        name = f"{_file_name(material_id)}{formats.ending(format)}"
        return FileResponse(
            path, media_type=WRITTEN[format], filename=name, background=BackgroundTask(folder.cleanup)
        )  # fmt: skip

    @api.get("/materials/{material_id}/slice", summary="Values on a lattice plane")
    async def a_slice(
        material_id: MaterialId,
        h: Annotated[int, Query(ge=-20, le=20)] = 1,
        k: Annotated[int, Query(ge=-20, le=20)] = 1,
        l: Annotated[int, Query(ge=-20, le=20)] = 0,  # noqa: E741 - what it is called everywhere
        offset: Annotated[float, Query(ge=-100, le=100, description="from the origin, in units of d(hkl)")] = 0.0,
        channel: Annotated[str, Query(max_length=40)] = "total",
        width: Annotated[int, Query(ge=2, le=1024)] = 256,
        height: Annotated[int, Query(ge=2, le=1024)] = 192,
    ) -> Plane:
        if not (h or k or l):
            raise HTTPException(400, "a plane needs h, k, l that are not all 0")

        def cut() -> Plane:
            found = _record(catalog, material_id)
            if channel not in found.channels:
                raise HTTPException(400, f"{material_id} has no channel {channel!r}: {', '.join(found.channels)}")
            decoded = found.decode()
            return plane(decoded.crystal.cell, decoded.channels[channel], (h, k, l), offset, width, height)

        try:
            return await queue.run(cut)
        except ChgdbError as error:
            raise problem(error, catalog) from None


def describe(catalog: Catalog) -> Iterable[Column]:
    """Columns with one value a material, and predictions."""
    for name, attributes in catalog.columns.items():
        if name not in _INTERNAL and name not in ("cell", "grid", "channel_nmae"):
            yield _column(name, dict(attributes), catalog.column(name).dtype)
    for name in names(catalog, PROPERTIES):
        yield _column(VIEW + name, View(catalog, PROPERTIES).attributes(name), None)


def _column(name: str, attributes: dict[str, Any], kind: np.dtype | None) -> Column:
    label, units = str(attributes.pop("long_name", name)), str(attributes.pop("units", ""))
    return Column(
        name=name, label=label, units="" if units == "1" else units, text=kind is not None and kind.kind == "O",
        truth=kind is not None and kind.name == "int8",
        attributes=attributes,
    )  # fmt: skip


def _default_columns(catalog: Catalog) -> list[str]:
    return [column.name for column in describe(catalog) if not column.name.startswith(VIEW)]


def prediction(catalog: Catalog, name: str) -> np.ndarray:
    """Array of a view. Raises `StoreError` if the store has none, or not this one."""
    return View(catalog, PROPERTIES)[name.removeprefix(VIEW)]


def _sorted(rows: list[int], values: np.ndarray, down: bool) -> list[int]:
    """Unknown values come last. Raises `StoreError` for a column with several values a material."""
    if values.ndim > 1:
        raise StoreError("a column with several values a material gives no order")

    def missing(row: int) -> bool:
        value = values[row]
        return value == "" if isinstance(value, str) else bool(value != value)

    known = [row for row in rows if not missing(row)]
    return sorted(known, key=lambda row: values[row], reverse=down) + [row for row in rows if missing(row)]


def _file_name(material_id: str) -> str:
    return "".join(c if c.isalnum() or c in "._+-" else "_" for c in material_id)
