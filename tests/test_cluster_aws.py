"""What `ray up cluster.yaml` makes in AWS, by Ray's own code against an imitation of AWS (moto) in this process.

It ends where SSH would begin: the machines do not exist, and nothing is ever sent to their addresses.
"""

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import boto3
import pytest
from moto import mock_aws
from ray.autoscaler._private import commands
from ray.autoscaler._private.event_summarizer import EventSummarizer
from ray.autoscaler._private.node_launcher import BaseNodeLauncher
from ray.autoscaler._private.node_provider_availability_tracker import NodeProviderAvailabilityTracker
from ray.autoscaler._private.prom_metrics import AutoscalerPrometheusMetrics
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler._private.util import ConcurrentCounter

ROOT = Path(__file__).parent.parent
REGION = "us-west-2"
PROFILES = {"head": "demandcast-head", "gpu": "demandcast-worker", "gpu-spot": "demandcast-worker"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An AWS account as cluster.yaml wants it, and the home folder of who calls `ray up`."""
    home = tmp_path_factory.mktemp("home")
    (home / ".ray").mkdir()
    (home / ".ray" / "auth_token").write_text("a token")
    keys = {"AWS_ACCESS_KEY_ID": "nobody", "AWS_SECRET_ACCESS_KEY": "nothing", "AWS_DEFAULT_REGION": REGION}
    with mock.patch.dict(os.environ, {**keys, "HOME": str(home)}), mock_aws():
        for name in set(PROFILES.values()):
            boto3.client("iam").create_instance_profile(InstanceProfileName=name)
        yield home


@dataclass(frozen=True)
class Up:
    """What came of `ray up cluster.yaml`.

    Attributes:
        head: the machine, as AWS describes it.
        setup: with what Ray would now set it up over SSH.
        remote: the configuration that the head gets, from which it starts workers.
    """

    head: dict[str, Any]
    setup: dict[str, Any]
    remote: dict[str, Any]


@pytest.fixture(scope="module")
def up(aws: Path) -> Up:
    setup, remote = ray_up()
    (head,) = instances()
    return Up(head, setup, remote)


def ray_up() -> tuple[dict[str, Any], dict[str, Any]]:
    """`ray up cluster.yaml` to where it would set up the head over SSH: with what, and the head's configuration."""
    found = []

    def over_ssh(**setup: Any) -> mock.Mock:
        found.append((setup, json.loads(Path(setup["file_mounts"]["~/ray_bootstrap_config.yaml"]).read_text())))
        return mock.Mock(exitcode=0)

    with mock.patch.object(commands, "NodeUpdaterThread", over_ssh), pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        commands.create_or_update_cluster(
            config_file="cluster.yaml",
            override_min_workers=None,
            override_max_workers=None,
            no_restart=False,
            restart_only=False,
            yes=True,
            override_cluster_name=None,
            no_config_cache=True,
            redirect_command_output=False,
            use_login_shells=True,
        )
    return found[0]


@pytest.fixture(scope="module")
def workers(up: Up, aws: Path) -> dict[str, dict[str, Any]]:
    """A worker of each type, started as the head's autoscaler does, from what the head was given."""
    shutil.copy(up.setup["file_mounts"]["~/ray_bootstrap_key.pem"], aws / "ray_bootstrap_key.pem")
    provider = _get_node_provider(up.remote["provider"], up.remote["cluster_name"])
    launcher = BaseNodeLauncher(
        provider,
        ConcurrentCounter(),
        EventSummarizer(),
        NodeProviderAvailabilityTracker(),
        prom_metrics=AutoscalerPrometheusMetrics(session_name="test"),
        node_types=up.remote["available_node_types"],
    )
    found = {}
    for name in ("gpu", "gpu-spot"):
        launcher.pending.inc(name, 1)
        launcher.launch_node(up.remote, 1, name)
        (found[name],) = (each for each in instances() if tags(each)["ray-user-node-type"] == name)
    return found


def instances() -> list[dict[str, Any]]:
    found = boto3.client("ec2").describe_instances()
    return [each for reservation in found["Reservations"] for each in reservation["Instances"]]


def tags(instance: dict[str, Any]) -> dict[str, str]:
    return {each["Key"]: each["Value"] for each in instance["Tags"]}


def role(instance: dict[str, Any]) -> str:
    """The instance profile's name."""
    return str(instance["IamInstanceProfile"]["Arn"].rpartition("/")[2])


def disk(instance: dict[str, Any]) -> dict[str, Any]:
    (mapping,) = instance["BlockDeviceMappings"]
    assert mapping["DeviceName"] == instance["RootDeviceName"]
    found = boto3.client("ec2").describe_volumes(VolumeIds=[mapping["Ebs"]["VolumeId"]])
    return {**found["Volumes"][0], "DeleteOnTermination": mapping["Ebs"]["DeleteOnTermination"]}


def test_the_head_is_the_machine_that_was_asked_for(up: Up) -> None:
    assert up.head["InstanceType"] == "m6i.2xlarge"
    assert up.head["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/")
    assert role(up.head) == PROFILES["head"]
    assert tags(up.head) | {"ray-launch-config": ""} == {
        "Name": "ray-demandcast-head",
        "ray-cluster-name": "demandcast",
        "ray-launch-config": "",
        "ray-node-status": "uninitialized",
        "ray-node-type": "head",
        "ray-user-node-type": "head",
    }


def test_workers_are_the_machines_that_were_asked_for(up: Up, workers: dict[str, dict[str, Any]]) -> None:
    for name, worker in workers.items():
        assert worker["InstanceType"] == "g5.2xlarge"
        assert worker["ImageId"].startswith("resolve:ssm:/aws/service/deeplearning/ami/x86_64/")
        assert role(worker) == PROFILES[name] != role(up.head)  # which starts machines
        assert tags(worker)["ray-node-type"] == "worker"
        assert tags(worker)["ray-cluster-name"] == "demandcast"
        assert worker.get("InstanceLifecycle") == ("spot" if name == "gpu-spot" else None)


def test_disks_are_encrypted_and_go_with_their_machines(up: Up, workers: dict[str, dict[str, Any]]) -> None:
    for instance in (up.head, *workers.values()):
        volume = disk(instance)
        assert (volume["Size"], volume["VolumeType"]) == (200, "gp3")
        assert volume["Encrypted"]
        assert volume["DeleteOnTermination"]


def test_no_process_takes_a_machines_role_by_a_forged_request(up: Up, workers: dict[str, dict[str, Any]]) -> None:
    for instance in (up.head, *workers.values()):
        assert instance["MetadataOptions"]["HttpTokens"] == "required"


def test_from_outside_there_is_ssh_alone(up: Up, workers: dict[str, dict[str, Any]]) -> None:
    (group,) = up.head["SecurityGroups"]
    assert all(worker["SecurityGroups"] == [group] for worker in workers.values())

    (found,) = boto3.client("ec2").describe_security_groups(GroupIds=[group["GroupId"]])["SecurityGroups"]

    inside = [rule for rule in found["IpPermissions"] if rule["UserIdGroupPairs"]]
    outside = [rule for rule in found["IpPermissions"] if rule["IpRanges"] or rule.get("Ipv6Ranges")]
    assert [pair["GroupId"] for rule in inside for pair in rule["UserIdGroupPairs"]] == [group["GroupId"]]
    assert [(rule["FromPort"], rule["ToPort"], rule["IpProtocol"]) for rule in outside] == [(22, 22, "tcp")]


def test_the_head_is_set_up_with_the_token_and_what_it_needs_to_start_workers(up: Up, aws: Path) -> None:
    assert up.setup["node_id"] == up.head["InstanceId"]
    assert ("~/.ray/auth_token", "~/.ray/auth_token") in up.setup["file_mounts"].items()
    key = Path(up.setup["file_mounts"]["~/ray_bootstrap_key.pem"])
    assert key.is_relative_to(aws)
    assert key.stat().st_mode & 0o077 == 0
    assert any("pip install" in command and command.endswith("boto3") for command in up.setup["setup_commands"])
    assert "--autoscaling-config=~/ray_bootstrap_config.yaml" in up.setup["ray_start_commands"][-1]
    assert set(up.remote["available_node_types"]) == {"head", "gpu", "gpu-spot"}


def test_a_second_ray_up_changes_no_machine(up: Up, workers: dict[str, dict[str, Any]]) -> None:
    before = {each["InstanceId"] for each in instances()}

    again, _ = ray_up()

    assert {each["InstanceId"] for each in instances()} == before
    assert again["node_id"] == up.head["InstanceId"]
