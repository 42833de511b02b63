"""Replicas that follow the load, end where nobody asks, and are replaced without a gap."""

import time

import httpx
import pytest

from demand.errors import SettingsError
from serving.application import Endpoint
from serving.scaling import Scaling
from tests.serving.load import SOON_SECONDS, Load
from tests.serving.test_faults import replicas


@pytest.mark.parametrize(("least", "most"), [(2, 1), (-1, 1), (0, 0)])
def test_a_range_that_is_none_is_refused(least: int, most: int) -> None:
    with pytest.raises(SettingsError, match=f"replicas {least} to {most}"):
        Scaling(least, most)


def test_one_replica_is_tried_at_the_start_and_a_change_leaves_as_many_as_there_are() -> None:
    scaling = Scaling(0, 4)

    assert scaling.options(start=True)["initial_replicas"] == 1
    assert scaling.options(start=False)["initial_replicas"] is None


def test_all_processes_are_replaced_and_no_request_is_lost(client: httpx.Client, endpoint: Endpoint) -> None:
    before = replicas()
    with Load(client, clients=2) as load:
        endpoint.renew()
        end = time.monotonic() + SOON_SECONDS
        while set(replicas()) & set(before) or not replicas():
            assert time.monotonic() < end
            time.sleep(0.2)
        answered = len(load.answers)
        while len(load.answers) < answered + 10:
            time.sleep(0.05)

    assert {status for status, _ in load.answers} == {200}
