"""What is broken on purpose while clients ask."""

import os
import signal
import time

import httpx
import psutil

from benchmarks.serving_faults import REPLICA
from serving.application import Endpoint
from serving.ingress import DEADLINE_SECONDS
from tests.clusters import wait_until
from tests.processes import below
from tests.serving.load import CLIENTS, SOON_SECONDS, Load


def replicas() -> list[int]:
    return [each.pid for each in below(psutil.Process(), REPLICA)]


def test_a_replica_that_is_killed_costs_time_and_no_answer_of_its_own_making(
    client: httpx.Client, endpoint: Endpoint
) -> None:
    (before,) = replicas()
    with Load(client) as load:
        load.more(2 * CLIENTS)
        os.kill(before, signal.SIGKILL)
        begin = time.monotonic()
        assert wait_until(lambda: replicas() not in ([before], []), SOON_SECONDS)
        assert wait_until(lambda: client.get("/v1/model").status_code == 200, SOON_SECONDS)
        outage = time.monotonic() - begin
        load.more(2 * CLIENTS)

    statuses = [status for status, _ in load.answers]
    assert set(statuses) <= {200, 503}
    assert statuses.count(503) <= CLIENTS * (1 + outage // DEADLINE_SECONDS)
    assert set(statuses[-CLIENTS:]) == {200}
