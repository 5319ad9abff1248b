"""The density alone, all targets at once: a multi-scale attention network after arXiv 2510.13207 (MSA-3DCNN).

It sees cubes of the density (`cubes`) in patches of 1.5 Å, and convolves at two scales (dilations 1 and 2) in parallel.
Its claim, that targets learned together are learned better, is tested against `singletarget`, the same network once
for each target.
"""

from __future__ import annotations

from ..methods.network_learner import LatentLearner

NAME = "multitarget"


class Model(LatentLearner):
    NAME = NAME
    TITLE = "density alone, multi-scale attention CNN, all targets"
    INPUTS = ("cubes",)
    SETTINGS = {  # noqa: RUF012
        "width": 32, "blocks": 2, "attention": True, "scales": (1, 2), "patch": 5, "squash": 0.03, "epochs": 12,
    }  # fmt: skip
