"""Routes that take a user's file or work long: predict, pack, the reconstruction from a latent."""

from __future__ import annotations

import asyncio
import importlib.util
import math
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from fastapi import APIRouter, HTTPException, Query, Request
from pydantic import BaseModel, Field
from starlette.responses import Response

import chgdb
from chgdb import Catalog, Crystal, formats
from chgdb.errors import ChgdbError, DensityError
from chgdb.grids import spacing_grid
from chgdb.prediction import Prediction
from chgdb.targets import TARGETS
from chgdb.web.api import BINARY, MAX_POINTS, PROBLEMS, MaterialId, Problem, Problems, plain, problem
from chgdb.web.jobs import Queue

#: Where files are taken; every other body is small.
PATHS = ("/api/v1/predict", "/api/v1/pack")
#: Seconds that a body may take, and those of silence in between: whoever is slower takes the place of others.
WHOLE, SILENCE = 900, 30
#: Models that are offered, where what they need is installed.
MODELS = {"invariant": (), "lightgbm": ("torch", "lightgbm", "matminer"), "attention": ("torch", "matminer")}

#: Å between the points of an estimated density.
SPACING = 0.1

_UPLOAD: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}},
    }
}
_PROBLEMS: Problems = PROBLEMS | {
    403: {"model": Problem, "description": "a request from another site"},
    413: {"model": Problem, "description": "the file is too large"},
    422: {
        "model": Problem,
        "description": "the file is no density that can be used, or a parameter does not fit",
    },
    408: {"model": Problem, "description": "the file came too slowly"},
}

FormatName = Annotated[str | None, Query(max_length=40, description="of the file; guessed from it unless given")]
FileName = Annotated[str, Query(max_length=200, description="what the user calls the file, such as POSCAR")]


class Predicted(BaseModel):
    """label: what people call it, such as Young's modulus E."""

    label: str
    value: float
    std: float
    unit: str


class Predictions(BaseModel):
    """90 % of true values lie within 1.645 standard deviations.

    density: "given", or "estimated" from a structure; then density_error is the NMAE to expect, and density_limit what
    9 of 10 stay below.
    """

    formula: str
    model: str
    density: str
    density_error: float | None
    density_limit: float | None
    properties: dict[str, Predicted]
    unlike_training: list[str]


class Structure(BaseModel):
    """A crystal: rows of `cell` are lattice vectors in Å, positions are fractional."""

    cell: Annotated[list[Annotated[list[float], Field(min_length=3, max_length=3)]], Field(min_length=3, max_length=3)]
    numbers: Annotated[list[Annotated[int, Field(ge=1, le=118)]], Field(min_length=1, max_length=1000)]
    positions: Annotated[list[Annotated[list[float], Field(min_length=3, max_length=3)]], Field(max_length=1000)]


class Packed(BaseModel):
    """The place of the written file, and its error."""

    store: str
    material_id: str
    nmae: float
    stored_bytes: int
    notes: list[str]


def offered() -> list[str]:
    """Models whose packages are installed."""
    return [name for name, needs in MODELS.items() if all(map(importlib.util.find_spec, needs))]


def has_latents(catalog: Catalog) -> bool:
    """Whether latents can be decoded: the store has them, and torch is installed."""
    return catalog.latent_model is not None and importlib.util.find_spec("torch") is not None


def router(catalog: Catalog, pack_into: Path | None) -> APIRouter:
    """Routes beside those that read. pack_into: the store that files are packed into; None for none."""
    api = APIRouter(prefix="/api/v1", responses=_PROBLEMS)
    queue = Queue()
    _add_uploads(api, queue, pack_into)
    _add_densities(api, queue, catalog)
    return api


def _add_uploads(api: APIRouter, queue: Queue, pack_into: Path | None) -> None:
    """What is done with a file: properties predicted, packed into a store."""

    @api.post("/predict", openapi_extra=_UPLOAD, summary="Properties of a density or a structure in a file")
    async def predict(
        request: Request,
        model: Annotated[str, Query(max_length=40, json_schema_extra={"enum": [*offered()]})] = "invariant",
        format: FormatName = None,
        name: FileName = "",
    ) -> Predictions:
        """Body: a CHGCAR, cube or another format that chgdb reads, also compressed; or a POSCAR, CIF or another
        structure, which its name must tell: its density is estimated."""
        if model not in offered():
            raise HTTPException(400, f"no model {model!r} here; there are {', '.join(offered())}")
        _check_format(format)
        async with _received(request, queue, name) as path:
            try:
                found = await queue.turn(lambda: _predicted(path, model, format))
            except ChgdbError as error:
                raise _unusable(error, path) from None
        return Predictions(
            formula=found.formula,
            model=found.model,
            density=found.density,
            density_error=plain(found.density_error),
            density_limit=plain(found.density_limit),
            properties={
                name: Predicted(label=_label(name), value=one.value, std=one.std, unit=one.unit)
                for name, one in found.properties.items()
            },
            unlike_training=list(found.unlike_training),
        )

    @api.post("/pack", openapi_extra=_UPLOAD, summary="Pack a density into a store of this machine")
    async def pack(
        request: Request,
        material_id: Annotated[str, Query(max_length=200, description="its id there")],
        tolerance: Annotated[float, Query(ge=0, le=0.1, description="largest NMAE; 0 for lossless")] = 1e-4,
        format: FormatName = None,
    ) -> Packed:
        """Body: as of predict. The answer says which store it is now in."""
        if pack_into is None:
            raise HTTPException(400, "this server packs into no store: start it with chgdb web --pack PATH")
        _check_format(format)
        async with _received(request, queue) as path:
            try:
                return await queue.turn(lambda: _pack(path, pack_into, material_id, tolerance))
            except ChgdbError as error:
                raise _unusable(error, path) from None


def _add_densities(api: APIRouter, queue: Queue, catalog: Catalog) -> None:
    """Densities that a model makes: of a structure, of a latent."""

    @api.post("/estimate", response_class=Response, responses=BINARY, summary="The density of a structure, without DFT")
    async def estimate(structure: Structure) -> Response:
        """Doubles, little-endian, x fastest; the grid, and how good it is to be expected, in the headers
        x-chgdb-grid and x-chgdb-summary."""

        def estimated() -> Any:
            parts = (np.array(part) for part in (structure.cell, structure.positions, structure.numbers))
            crystal = chgdb.Crystal(*parts)
            return chgdb.estimate(crystal, grid=_grid(crystal))

        try:
            found = await queue.run(estimated)
        except ChgdbError as error:
            raise HTTPException(422, str(error)) from None
        body = np.ascontiguousarray(found.density.total.transpose(2, 1, 0), "<f8").tobytes()
        headers = {"x-chgdb-grid": "x".join(map(str, found.density.grid)), "x-chgdb-summary": found.summary}
        return Response(body, media_type="application/octet-stream", headers=headers)

    @api.get(
        "/materials/{material_id}/latent", response_class=Response, responses=BINARY, summary="What a latent decodes to"
    )
    async def latent(material_id: MaterialId) -> Response:
        """Doubles, little-endian, x fastest, on the record's grid; its NMAE in the header x-chgdb-nmae."""

        def decoded() -> tuple[np.ndarray, float]:
            record = catalog[material_id]
            if not has_latents(catalog):
                raise HTTPException(400, "latents are decoded where the store has some and torch is installed here")
            from chgdb.latents.stores import decode_record

            return decode_record(record).total, record.metadata["latent_nmae"]

        try:
            values, nmae = await queue.run(decoded)
        except ChgdbError as error:
            raise problem(error, catalog) from None
        body = np.ascontiguousarray(values.transpose(2, 1, 0), "<f8").tobytes()
        return Response(body, media_type="application/octet-stream", headers={"x-chgdb-nmae": f"{nmae:.9g}"})


@asynccontextmanager
async def _received(request: Request, queue: Queue, name: str = "") -> AsyncIterator[Path]:
    """The body in a file of a folder of its own, and a place in the queue from before it comes. The guard counts its
    bytes.

    name: what the user calls it; of that only what can be no path is kept.
    """
    with queue.place(), tempfile.TemporaryDirectory(prefix="chgdb-web-") as folder:
        path = Path(folder) / (re.sub(r"[^\w.+-]", "_", name, flags=re.ASCII).lstrip(".") or "upload")
        try:
            await _receive(request, path)
        except TimeoutError:
            raise HTTPException(408, "the file comes too slowly: send it from nearer, or compressed") from None
        if path.stat().st_size == 0:
            raise HTTPException(422, "the request has no file in its body")
        yield path


async def _receive(request: Request, path: Path) -> None:
    """The body into a file. Raises `TimeoutError`."""
    chunks = request.stream()
    with path.open("wb") as file:
        async with asyncio.timeout(WHOLE):
            while True:
                try:
                    chunk = await asyncio.wait_for(anext(chunks), SILENCE)
                except StopAsyncIteration:
                    return
                file.write(chunk)


def _grid(crystal: Crystal) -> tuple[int, int, int]:
    """The file of an estimated density. Raises `DensityError` for one that is too large for a server of pages."""
    points = spacing_grid(crystal.cell, SPACING)
    if math.prod(points) > MAX_POINTS:
        raise DensityError(
            f"a grid of {'x'.join(map(str, points))} points is too large here; use chgdb on a command line"
        )
    return points


def _predicted(path: Path, model: str, format: str | None) -> Prediction:
    given = formats.read_any(path, format=format)
    if isinstance(given, Crystal):
        _grid(given)
    return chgdb.predict(given, model=model)


def _label(name: str) -> str:
    return TARGETS[name].label if name in TARGETS else name.replace("_", " ")


def _check_format(name: str | None) -> None:
    known = formats.formats()
    if name is not None and name not in known:
        raise HTTPException(400, f"no format {name!r}; there are {', '.join(sorted(known))}")


def _unusable(error: ChgdbError, path: Path) -> HTTPException:
    """The line that the command line would print, without the name of our copy."""
    text = str(error).replace(str(path), "the file").replace(str(path.parent), "")
    return HTTPException(422, text)


def _pack(path: Path, store: Path, material_id: str, tolerance: float) -> Packed:
    from chgdb.errors import StoreError
    from chgdb.inputs import check_id

    check_id(material_id)
    if not tolerance >= 0:
        raise StoreError(f"{tolerance} is no tolerance: give 1e-4 for an NMAE of 0.01 %, 0 for lossless")
    report = chgdb.build(store, path, ids={str(path): material_id}, tolerance=tolerance, workers=1)
    if report.refused:
        raise StoreError(report.refused[0][1])
    record = chgdb.open(store)[material_id]
    return Packed(
        store=str(store.absolute()), material_id=material_id, nmae=record.nmae, stored_bytes=record.stored_bytes,
        notes=list(report.notes),
    )  # fmt: skip
