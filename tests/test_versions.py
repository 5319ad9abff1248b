"""The lower bounds of pyproject.toml are the versions that tests/versions.py runs the suite with."""

from __future__ import annotations

from versions import lower_bounds, pinned


def test_the_oldest_versions_are_the_lower_bounds() -> None:
    oldest, bounds = pinned(), lower_bounds()
    for name, bound in bounds.items():
        base = name.partition("[")[0]
        if base == "torch":  # there is one small build of it, the one in constraints.txt
            continue
        version = oldest[base].split(".")
        assert version[: len(bound.split("."))] == bound.split("."), f"{name}>={bound}, but {oldest[base]} is tested"
        assert set(version[len(bound.split(".")) :]) <= {"0"}, f"{name}>={bound}, but {oldest[base]} is tested"
