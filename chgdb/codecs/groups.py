"""A space group in a payload: its generators, which take a few bytes."""

from __future__ import annotations

import numpy as np

from ..errors import CodecError
from ..symmetry import UNITS, SpaceGroup
from .bits import BitReader, BitWriter


def same_group(one: SpaceGroup, other: SpaceGroup) -> bool:
    return one.rows() == other.rows() and bool((one.origin == other.origin).all())


_ORIGIN_UNITS = 1 << 32
_COARSE = UNITS // 24


def write_group(out: BitWriter, group: SpaceGroup) -> None:
    generators = group.generators()
    out.write_gamma(len(generators))
    if not len(generators):
        return
    origin = np.rint(group.origin * _ORIGIN_UNITS).astype(np.int64) % _ORIGIN_UNITS
    out.write(int(origin.any()), 1)
    if origin.any():
        for component in origin.tolist():
            out.write(component, 32)
    for *rotation, x, y, z, flip in generators.rows():
        small = max(map(abs, rotation)) <= 1
        out.write(int(small), 1)
        if small:
            out.write(sum((entry + 1) * 3**k for k, entry in enumerate(rotation)), 15)
        else:
            for entry in rotation:
                out.write_signed(entry)
        out.write(flip, 1)
        for component in (x, y, z):
            out.write(int(component > 0), 1)
            if component:
                coarse = component % _COARSE == 0
                out.write(int(coarse), 1)
                out.write(component // _COARSE if coarse else component, 5 if coarse else 13)


def read_group(source: BitReader) -> SpaceGroup:
    count = source.read_gamma()
    if not count:
        return SpaceGroup.trivial()
    if count > 16:
        raise CodecError("the payload holds too many group generators: the record is damaged")
    origin = np.zeros(3)
    if source.read(1):
        origin = np.array([source.read(32) / _ORIGIN_UNITS for _ in range(3)])
    rotations, translations, flips = [], [], []
    for _ in range(count):
        if source.read(1):
            code = source.read(15)
            rotation = [code // 3**k % 3 - 1 for k in range(9)]
        else:
            rotation = [source.read_signed() for _ in range(9)]
            if max(map(abs, rotation)) > 64:
                raise CodecError("the payload holds an impossible rotation: the record is damaged")
        rotations.append(rotation)
        flips.append(source.read(1))
        vector = []
        for _ in range(3):
            component = 0
            if source.read(1):
                component = source.read(5) * _COARSE if source.read(1) else source.read(13)
            vector.append(component % UNITS)
        translations.append(vector)
    return SpaceGroup.generate(
        np.array(rotations).reshape(-1, 3, 3), np.array(translations), origin, np.array(flips, np.int64)
    )
