"""A small trained run of the world's gate: two replicates an arm, treatment and one control, nothing scored or sampled."""

from __future__ import annotations

import pytest

from benchmarks.features_world import LAYER as LAYER
from benchmarks.features_world import gate_request, trained
from weirdgen.features.reader import Reader
from weirdgen.runs.plan.plan import Plan


@pytest.fixture(scope="session")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Plan:
    """Two replicates of the gate and of its control."""
    return trained(gate_request(2), str(tmp_path_factory.mktemp("gate")))


@pytest.fixture(scope="session")
def gate_reader(gate: Plan) -> Reader:
    return Reader(gate.request.local.folder, gate.request.dtype, gate.request.date)
