"""Joining a Ray cluster: the one that RAY_ADDRESS names, else a local one that ends with this process."""

import logging
import os
from typing import Any

import ray


def connect(processors: int | None = None) -> None:
    """Makes Ray ready for this process, quietly. Does nothing where it already is."""
    if ray.is_initialized():
        return
    for name in ("ray", "ray.data", "ray.train", "ray.tune", "ray.serve"):
        logging.getLogger(name).setLevel(logging.ERROR)
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # our own table shows a sweep
    address = os.environ.get("RAY_ADDRESS")
    # The dashboard stays on: through its state API Ray Train frees what a trial that was stopped early had reserved.
    local: dict[str, Any] = {} if address else {"num_cpus": processors, "include_dashboard": True}
    ray.init(address=address, logging_level=logging.ERROR, log_to_driver=False, configure_logging=True, **local)
