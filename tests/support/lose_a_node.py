"""A script for test_executors.py: run an experiment on a two-node Ray cluster of this machine and kill a node in mid-run.

    python -m tests.support.lose_a_node EXPERIMENT STORE

Its own process, since a cluster's processes inherit this one's environment. Prints one JSON object: how many units were
in flight when the node was killed, how many of their processes died, and the artifacts finished by then with their
times of change.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from pathlib import Path
from typing import Any

import psutil

from weirdgen.progress import Progress
from weirdgen.runs.pipeline import run_plan
from weirdgen.runs.plan.options import run_options
from weirdgen.runs.plan.plan import make_plan
from weirdgen.runs.plan.resolve import resolve
from weirdgen.runs.work.executors import ExecutorError, OnRay
from weirdgen.store.artifacts import Store

CHANGES = ["recipe.epochs=40"]
REQUEST: dict[str, Any] = {"seeds": 3, "samples": 20, "changes": CHANGES}


def watched(store: Store) -> Path:
    """Where finished artifacts of a store lie: its folder, or that of its file:// URL."""
    return Path(store.location.removeprefix("file://")) / "artifacts" / "finetune"


def main(experiment: str, location: str) -> None:
    from ray.cluster_utils import Cluster

    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    size = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = Cluster(initialize_head=True, head_node_args={**size, "include_dashboard": False})
    other = {"WEIRDGEN_CACHE": os.environ["OTHER_CACHE"]} if "OTHER_CACHE" in os.environ else {}
    node = cluster.add_node(**size, env_vars=other)
    raylet = node.all_processes["raylet"][0].process.pid
    store = Store(location)
    seen: dict[str, Any] = {"in_flight": 0, "died": 0, "finished": {}}

    def kill() -> None:
        """Once something is finished and something is being trained on the second node."""
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            with contextlib.suppress(psutil.NoSuchProcess):
                workers = {p.pid for p in psutil.Process(raylet).children(recursive=True)}
                finished = sorted(watched(store).glob("*/complete.json"))
                in_flight = [pid for pid in workers if training(pid)]
                if finished and in_flight:
                    seen["finished"] = {str(file): file.stat().st_mtime_ns for file in finished}
                    seen["in_flight"] = len(in_flight)
                    cluster.remove_node(node, allow_graceful=False)
                    psutil.wait_procs([psutil.Process(p) for p in in_flight if psutil.pid_exists(p)], timeout=20)
                    seen["died"] = sum(not psutil.pid_exists(pid) for pid in in_flight)
                    return
            time.sleep(0.01)

    def training(pid: int) -> bool:
        """Whether this process has an unfinished adapter in a store's tmp folder."""
        roots = [store.root, *Path(os.environ.get("OTHER_CACHE", "/nonexistent")).glob("stores/*")]
        return any(list((root / "tmp").glob(f"*-{pid}-*")) for root in roots)

    killer = threading.Thread(target=kill)
    killer.start()
    plan = make_plan(resolve(experiment, run_options(**REQUEST, together=1)), store)
    finished = run_plan(plan, Progress(quiet=True), OnRay(cluster.address, 1))
    killer.join()
    try:
        fresh = make_plan(resolve(experiment, run_options(seeds=1, first_seed=9)), store)
        run_plan(fresh, Progress(quiet=True), OnRay(cluster.address, 64))
    except ExecutorError as error:
        seen["refused"] = str(error)
    cluster.shutdown()
    print(json.dumps({**seen, "results": str(finished.folder / "results.json")}))


if __name__ == "__main__":
    main(*sys.argv[1:])
