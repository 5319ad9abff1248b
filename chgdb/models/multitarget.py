"""The density alone, all targets at once: a multi-scale attention network after arXiv 2510.13207 (MSA-3DCNN).

Each block convolves at three scales (dilations 1, 2 and 3) in parallel. The input is the latent of the density. Its
claim, that targets learned together are learned better, is tested against `singletarget`, the same
network once for each target.
"""

from __future__ import annotations

from .learner import LatentLearner

NAME = "multitarget"


class Model(LatentLearner):
    NAME = NAME
    TITLE = "density alone, multi-scale attention CNN, all targets"
    SETTINGS = {"width": 20, "blocks": 2, "attention": True, "scales": (1, 2, 3), "epochs": 30}  # noqa: RUF012
