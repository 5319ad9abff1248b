"""Latent and MAGPIE through a convolutional network with attention, the last model of arXiv 2605.07227.

Residual 3D convolutions, swish, dual attention (channel and spatial), global pooling; MAGPIE through an MLP; a dense
head over both.
"""

from __future__ import annotations

from ..methods.network_learner import LatentLearner

NAME = "attention"


class Model(LatentLearner):
    NAME = NAME
    TITLE = "latent + MAGPIE, attention CNN"
    INPUTS = ("latent", "magpie")
    SETTINGS = {  # noqa: RUF012
        "width": 32, "blocks": 3, "attention": True, "composition": 128, "epochs": 12, "dropout": 0.2, "decay": 0.03,
    }  # fmt: skip
