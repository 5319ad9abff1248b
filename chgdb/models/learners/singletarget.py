"""The network of `multitarget` once for each target, for comparison."""

from __future__ import annotations

from . import multitarget

NAME = "singletarget"


class Model(multitarget.Model):
    NAME = NAME
    TITLE = "density alone, multi-scale attention CNN, one target"
    SINGLE = True
