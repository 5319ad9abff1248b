"""Latent only: a residual 3D convolutional network, the first model of arXiv 2605.07227.

One network for all targets, small enough for two cores: the paper trains one a target.
"""

from __future__ import annotations

from ..methods.network_learner import LatentLearner

NAME = "latent_cnn"


class Model(LatentLearner):
    NAME = NAME
    TITLE = "latent CNN"
    SETTINGS = {"width": 32, "blocks": 3, "epochs": 12, "dropout": 0.2, "decay": 0.03}  # noqa: RUF012
