"""One build of the three tiny sets for all tests of references, which only read it."""

from __future__ import annotations

import pandas as pd
import pytest

from tests.support.reference_sets import planned
from weirdgen.progress import Progress
from weirdgen.runs.references.build import build
from weirdgen.runs.references.plan import Build


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Build, pd.DataFrame]:
    wanted = planned(tmp_path_factory.mktemp("references"))
    return wanted, build(wanted, Progress(quiet=True))
