"""What is broken on purpose while clients ask."""

import os
import signal
import time

import httpx
import psutil

from serving.application import Endpoint
from tests.processes import below
from tests.serving.load import CLIENTS, SOON_SECONDS, Load

REPLICA = "ray::ServeReplica:demandcast:ModelReplica"


def replicas() -> list[int]:
    return [each.pid for each in below(psutil.Process(), REPLICA)]


def test_a_replica_that_is_killed_costs_time_and_no_answer_of_its_own_making(
    client: httpx.Client, endpoint: Endpoint
) -> None:
    (before,) = replicas()
    with Load(client) as load:
        while len(load.answers) < 2 * CLIENTS:
            time.sleep(0.05)
        os.kill(before, signal.SIGKILL)
        end = time.monotonic() + SOON_SECONDS
        while (now := replicas()) in ([before], []):
            assert time.monotonic() < end
            time.sleep(0.2)
        answered = len(load.answers)
        while len(load.answers) < answered + 2 * CLIENTS:
            time.sleep(0.05)

    statuses = [status for status, _ in load.answers]
    assert now != [before]
    assert set(statuses) <= {200, 503}
    assert statuses.count(503) <= CLIENTS
    assert set(statuses[-CLIENTS:]) == {200}
