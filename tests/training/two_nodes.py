"""A run with a worker on each of two nodes, of which one is lost for good: DATA and STORAGE are folders.

Prints who wrote the last checkpoint, how many steps were made, and how many were to be made.
"""

import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path

os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = "6"  # Ray first tries with both, until it knows of the loss

import ray
from ray.cluster_utils import Cluster

from demand.dataset import Dataset
from tests.training.runs import losses, plan
from training.run import fit, prepare


def main(data: Path, storage: Path) -> None:
    apart = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # from any other Ray on this machine; sockets want short paths
    head = {"num_cpus": 1, "include_dashboard": False, "temp_dir": apart}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    second = cluster.add_node(num_cpus=1)
    ray.init(cluster.address, log_to_driver=False, logging_level="ERROR")
    settings = {"microbatch_tokens": 256, "reports_per_epoch": 4, "max_failures": 5, "min_workers": 1}
    prepared = prepare(plan(Dataset.open(data), workers=2, **settings))

    def lose_the_second_node() -> None:
        while not list(storage.glob("run/checkpoint_*/manifest-1-of-2.json")):
            time.sleep(0.05)
        cluster.remove_node(second, allow_graceful=False)

    threading.Thread(target=lose_the_second_node, daemon=True).start()
    result = fit(prepared, "run", storage, processors=1)
    wrote = sorted(file.name for file in Path(result.checkpoint.path).glob("manifest-*"))
    print(*wrote, len(losses(result)), prepared.job.total_steps, flush=True)
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(apart, ignore_errors=True)


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:]))
