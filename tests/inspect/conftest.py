"""The small run and the scripted server of the tests of judging."""

from tests.runs.work.conftest import built as built
from tests.runs.work.conftest import experiment as experiment
from tests.runs.work.conftest import serve as serve
from tests.runs.work.conftest import store as store
