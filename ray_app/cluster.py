"""Joining a Ray cluster: the one that RAY_ADDRESS names, else a local one that ends with this process."""

import logging
import os
import socket
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import ray


def connect(
    processors: int | None = None, dashboard: bool = False, environment: Mapping[str, str] = MappingProxyType({})
) -> None:
    """Makes Ray ready for this process, quietly. Does nothing where it already is.

    Args:
        dashboard: whether a local cluster has Ray's, which is some more processes to wait for: sweeps want it, whose
            trials may be stopped early, and so does Prometheus, for which it lists the nodes.
        environment: variables that Ray's processes for this one see.
    """
    if ray.is_initialized():
        return
    for name in ("ray", "ray.data", "ray.train", "ray.tune", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own table shows a sweep
    quietly: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False, "configure_logging": True}
    if address := os.environ.get("RAY_ADDRESS"):
        if environment:
            quietly["runtime_env"] = {"env_vars": dict(environment)}
        ray.init(address=address, **quietly)
        return
    os.environ.update(environment)
    # A trial or a run is some ten small processes: on two cores Ray else starts them two at a time, and warns about it.
    os.environ.setdefault("RAY_worker_maximum_startup_concurrency", "8")
    # Ray Train's controller takes reports when it looks after its workers, by default every 2 seconds.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.5")
    # Ray Serve starts a new proxy after three checks without an answer, of which it else makes one every 10 seconds.
    os.environ.setdefault("RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S", "1")
    # It gives up a proxy that has not started after three times so long, by default 5 seconds.
    os.environ.setdefault("RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S", "20")
    # No cloud takes a local cluster's only node away with a notice, for which Ray Train starts a process.
    os.environ.setdefault("RAY_TRAIN_ENABLE_PREEMPTION_WATCHER", "0")
    if dashboard:
        # Ray Train frees what a trial that was stopped early had reserved, through the dashboard's state API. Its
        # processes must be told where that is: they else look, and give up where two clusters run on one machine.
        quietly |= {"dashboard_host": "127.0.0.1", "dashboard_port": free_port()}
        os.environ["RAY_API_SERVER_ADDRESS"] = f"http://127.0.0.1:{quietly['dashboard_port']}"
    ray.init(num_cpus=processors, include_dashboard=dashboard, **quietly)


def free_port() -> int:
    """A port of the loopback interface that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
