"""The small run and the scripted server of the tests of judging."""

from tests.runs.conftest import judged as judged
from tests.runs.conftest import serve as serve
from tests.runs.work.conftest import built as built
from tests.runs.work.conftest import store as store
