"""Joining a Ray cluster: the one that RAY_ADDRESS names, else a local one that ends with this process."""

import logging
import os
from typing import Any

import ray
import ray.data


def connect(processors: int | None = None) -> None:
    """Makes Ray ready for this process, quietly. Does nothing where it already is."""
    if ray.is_initialized():
        return
    os.environ.setdefault("RAY_TRAIN_ENABLE_PRINT_PATCH", "0")
    for name in ("ray.data", "ray.train", "ray.tune", "ray.serve"):
        logging.getLogger(name).setLevel(logging.WARNING)
    ray.data.DataContext.get_current().enable_progress_bars = False
    address = os.environ.get("RAY_ADDRESS")
    local: dict[str, Any] = {} if address else {"num_cpus": processors, "include_dashboard": False}
    ray.init(address=address, logging_level=logging.WARNING, log_to_driver=False, configure_logging=True, **local)
