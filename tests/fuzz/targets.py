"""Everything that is fuzzed: name -> target, for the hypothesis tests and for the coverage-guided driver (`run.py`)."""

from __future__ import annotations

import file_targets
import model_targets
import net_targets
import store_targets

TARGETS = {**file_targets.TARGETS, **store_targets.TARGETS, **model_targets.TARGETS, **net_targets.TARGETS}
