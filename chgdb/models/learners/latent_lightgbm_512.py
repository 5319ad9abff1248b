"""`latent_lightgbm` with as many principal components as in arXiv 2605.07227, for comparison."""

from __future__ import annotations

from . import latent_lightgbm

NAME = "lightgbm_512"


class Model(latent_lightgbm.Model):
    NAME = NAME
    TITLE = "latent (512 components) + MAGPIE, LightGBM"
    COMPONENTS = (512,)
