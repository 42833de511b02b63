"""How Ray Train joins a run's workers: each listens where Ray knows its node."""

import os
from dataclasses import replace
from typing import Any

import ray.util
import torch.distributed as dist
from ray.train.torch import TorchConfig

from modeling.parallel import GLOO_CARD, network_card


class Joined(TorchConfig().backend_cls):  # type: ignore[misc]  # which Ray names nowhere else
    """Ray Train's own set-up, after each worker was told its network card."""

    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        """Workers are there; Ray Train calls this before they run."""
        worker_group.execute(listen_on_the_nodes_address)
        if backend_config.backend == "nccl" and not all(worker_group.execute(dist.is_nccl_available)):
            backend_config = replace(backend_config, backend="gloo")
        super().on_start(worker_group, backend_config)


class Join(TorchConfig):
    """TorchConfig whose workers find each other also where a host's name leads to itself alone.

    With GPUs they speak NCCL, unless a torch without CUDA was installed on purpose: then all of them compute on CPUs.
    """

    @property
    def backend_cls(self) -> type:
        """Who does it."""
        return Joined


def listen_on_the_nodes_address() -> None:
    """gloo takes the address that the host's own name leads to, which on Debian is a loopback one."""
    if card := network_card(ray.util.get_node_ip_address()):
        os.environ.setdefault(GLOO_CARD, card)
