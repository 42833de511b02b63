"""Replicas that follow the load, end where nobody asks, and are replaced without a gap."""

import httpx
import psutil
import pytest
import ray

from benchmarks.serving_faults import INGRESS, REPLICA
from demand.errors import SettingsError
from serving.application import Endpoint
from serving.scaling import Scaling
from tests.clusters import wait_until
from tests.processes import below
from tests.serving.load import SOON_SECONDS, Load


@pytest.mark.parametrize(("least", "most"), [(2, 1), (-1, 1), (0, 0)])
def test_a_range_that_is_none_is_refused(least: int, most: int) -> None:
    with pytest.raises(SettingsError, match=f"replicas {least} to {most}"):
        Scaling(least, most)


def test_one_replica_is_tried_at_the_start_and_a_change_leaves_as_many_as_there_are() -> None:
    scaling = Scaling(0, 4)

    assert scaling.options(start=True)["initial_replicas"] == 1
    assert scaling.options(start=False)["initial_replicas"] is None


@pytest.mark.parametrize("name", [REPLICA, INGRESS])
def test_all_processes_are_replaced_and_no_request_is_lost(client: httpx.Client, endpoint: Endpoint, name: str) -> None:
    def processes() -> set[int]:
        return {each.pid for each in below(psutil.Process(), name)}

    before = processes()
    assert before
    assert wait_until(lambda: ray.available_resources().get("CPU", 0) >= 1, SOON_SECONDS)  # what others had is free
    with Load(client, clients=2) as load:
        endpoint.renew()
        assert wait_until(lambda: processes() and not processes() & before, SOON_SECONDS)
        load.more(10)

    assert {status for status, _ in load.answers} == {200}
