"""A thread that works through jobs, and what it does if one of them goes wrong.

In: the jobs' book. Out: jobs that fail with the reason which their owner is told; a defect fails the job and stays in the log,
and the thread goes on with the next. What the work is: `weirdgen.serve.validating`, `weirdgen.serve.training`.
"""

from __future__ import annotations

import sys
import threading
import traceback
from abc import abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

from weirdgen.errors import StoreError, WeirdgenError
from weirdgen.models.references import LocalModel
from weirdgen.serve.jobs import Job, Jobs
from weirdgen.serve.problems import ApiError


class StopWork(Exception):  # noqa: N818  it is no error
    """Ends a piece of work from inside: nobody waits for it any longer, or the server closes."""


class Worker(threading.Thread):
    """Works until `close`."""

    def __init__(self, name: str, jobs: Jobs, bases: Mapping[str, LocalModel]) -> None:
        super().__init__(name=name, daemon=True)
        self.jobs, self.bases = jobs, bases
        self.closing = False

    @abstractmethod
    def has_work(self) -> bool:
        """Looked at after every change of a job."""

    @abstractmethod
    def work(self) -> None:
        """Do what waits, or the first part of it."""

    def close(self) -> None:
        """Stop as soon as the work can be left; jobs go on when the server is started again."""
        with self.jobs.changed:
            self.closing = True
            self.jobs.changed.notify_all()
        self.join()

    def run(self) -> None:
        while True:
            self.jobs.wait(lambda: self.closing or self.has_work())
            if self.closing:
                return
            self.work()

    def mine(self, status: str) -> list[Job]:
        """Jobs in this state whose base is served now, the oldest first; others wait for a server that serves it."""
        return [job for job in self.jobs.waiting(status) if job.model in self.bases]

    @contextmanager
    def fails_only(self, group: Sequence[Job]) -> Iterator[None]:
        """Whatever goes wrong inside ends these jobs and nothing else."""
        try:
            yield
        except StopWork:
            return
        except ApiError as error:
            self._fail(group, str(error), error.code or "invalid_request", error.param)
        except WeirdgenError as error:
            code = "storage_error" if isinstance(error, StoreError) else "training_failed"
            self._fail(group, str(error), code, None)
        except Exception:
            traceback.print_exc(file=sys.stderr)
            self._fail(group, "the server had an error of its own; its log says which", "internal_error", None)

    def _fail(self, group: Sequence[Job], message: str, code: str, param: str | None) -> None:
        for job in group:
            try:
                self.jobs.fail(job.id, message, code, param)
            except StoreError as error:  # the disk is full: the job has failed all the same, until the next start
                print(f"weirdgen serve: {job.id}: {error}", file=sys.stderr)
