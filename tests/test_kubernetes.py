"""deploy/kubernetes and the Dockerfile are right as far as can be told without a Kubernetes.

Core objects, and the pod templates inside KubeRay's, are held against Kubernetes' own schemas; Ray's autoscaler and Ray
Serve read KubeRay's objects as they would in the cluster. Their other fields were compared with KubeRay's CRDs by hand
(docs/decisions.md).
"""

import copy
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from pydantic import BaseModel
from ray._common.utils import import_attr
from ray.autoscaler._private.kuberay.autoscaling_config import _derive_autoscaling_config_from_ray_cr
from ray.serve.schema import ServeDeploySchema
from typer.main import get_group

from ray_app.commands import application
from serving.ingress import Ingress
from serving.keys import ENVIRONMENT
from serving.scaling import SURGE_PERCENT

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "deploy" / "kubernetes"
VERSION = kubernetes_validate.latest_version()
HOME = "DEMANDCAST_HOME"
OURS = "demandcast"
"""The name of the one image, which the kustomization replaces by where it lies."""
Object = dict[str, Any]


def read(file: str) -> list[Object]:
    return list(yaml.safe_load_all((FOLDER / file).read_text()))


KUSTOMIZATION = read("kustomization.yaml")[0]
OBJECTS = [each for file in sorted(FOLDER.glob("*.yaml")) if file.stem != "kustomization" for each in read(file.name)]
CORE = [each for each in OBJECTS if not each["apiVersion"].startswith("ray.io/")]
(TRAINING,), (SERVICE,), (JOB,) = (
    [each for each in OBJECTS if each["kind"] == kind] for kind in ("RayCluster", "RayService", "RayJob")
)
CLUSTERS = {"training": TRAINING["spec"], "serving": SERVICE["spec"]["rayClusterConfig"]}
SERVE = yaml.safe_load(SERVICE["spec"]["serveConfigV2"])


def only(kind: str, name: str) -> Object:
    (found,) = [each for each in OBJECTS if (each["kind"], each["metadata"].get("name")) == (kind, name)]
    return found


def head(cluster: Object) -> Object:
    template: Object = cluster["headGroupSpec"]["template"]
    return template


def workers(cluster: Object) -> list[Object]:
    return [group["template"] for group in cluster["workerGroupSpecs"]]


RAY_PODS = {
    f"{name}-{part}": template
    for name, cluster in CLUSTERS.items()
    for part, template in (("head", head(cluster)), *(("worker", each) for each in workers(cluster)))
}
WATCH = only("CronJob", "watch")["spec"]["jobTemplate"]["spec"]["template"]
PODS = {**RAY_PODS, "redis": only("StatefulSet", "redis")["spec"]["template"], "watch": WATCH}
(CRON,) = WATCH["spec"]["containers"]
CONTAINERS = {
    f"{pod}/{each['name']}": each for pod, template in PODS.items() for each in template["spec"]["containers"]
}


def validate(each: Object) -> None:
    kubernetes_validate.validate(each, VERSION, strict=True)


def as_object(template: Object) -> Object:
    """A pod template as the core object of that kind, which has a schema of its own."""
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "template"}, "template": template}


def selects(policy: Object, template: Object) -> bool:
    """Whether a selector by labels alone finds a pod of the template."""
    return policy["matchLabels"].items() <= template["metadata"]["labels"].items()


def values(each: Any, name: str) -> Iterator[Any]:
    """Of every field of that name, however deep."""
    if isinstance(each, dict):
        for key, value in each.items():
            if key == name:
                yield value
            yield from values(value, name)
    elif isinstance(each, list):
        for value in each:
            yield from values(value, name)


@pytest.mark.parametrize("each", CORE, ids=lambda each: f"{each['kind']}-{each['metadata']['name']}")
def test_kubernetes_knows_every_field(each: Object) -> None:
    validate(each)


@pytest.mark.parametrize("pod", RAY_PODS)
def test_kubernetes_knows_every_field_of_the_pods_that_kuberay_makes(pod: str) -> None:
    validate(as_object(RAY_PODS[pod]))


def test_a_misspelt_field_is_found() -> None:
    broken = copy.deepcopy(RAY_PODS["serving-worker"])
    broken["spec"]["containers"][0]["readynessProbe"] = {}

    with pytest.raises(kubernetes_validate.ValidationError, match="readynessProbe"):
        validate(as_object(broken))


def test_every_manifest_is_applied_but_the_job_which_is_created_by_hand() -> None:
    manifests = {file.name for file in FOLDER.glob("*.yaml")} - {"kustomization.yaml"}

    assert manifests - set(KUSTOMIZATION["resources"]) == {"tune.yaml"}
    assert set(KUSTOMIZATION["resources"]) <= manifests


def test_all_of_ray_runs_in_the_one_image_with_the_version_that_is_pinned() -> None:
    (pinned,) = re.findall(r"^ray==(.+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE)
    images = {name: each["image"] for name, each in CONTAINERS.items() if not name.startswith("redis/")}

    assert set(images.values()) == {OURS}
    assert [each["name"] for each in KUSTOMIZATION["images"]] == [OURS]
    assert {cluster["rayVersion"] for cluster in CLUSTERS.values()} == {pinned}


def test_no_secret_is_in_a_file() -> None:
    secret = re.compile("token|password|keys?$|auth", re.IGNORECASE)
    variables = [each for found in values(OBJECTS, "env") for each in found if each["name"] != "RAY_AUTH_MODE"]

    assert not [each for each in OBJECTS if each["kind"] == "Secret"]
    assert not [each["name"] for each in variables if secret.search(each["name"]) and "value" in each]
    assert not [name for each in OBJECTS if each["kind"] == "ConfigMap" for name in each["data"] if secret.search(name)]


def test_every_secret_that_is_wanted_is_one_that_the_kustomization_says_how_to_make() -> None:
    said = (FOLDER / "kustomization.yaml").read_text().replace("\\\n#", " ")
    made = {
        name: set(re.findall(r"--from-literal=(\w+)=", rest))
        for name, rest in re.findall(r"create secret generic (\S+)(.*)", said)
    }
    wanted = {(each["name"], each["key"]) for each in values(OBJECTS, "secretKeyRef")}
    wanted |= {(each, "auth_token") for each in values(OBJECTS, "secretName")}  # KubeRay's name for it
    wanted |= {(each["name"], ENVIRONMENT) for each in values(OBJECTS, "secretRef")}

    assert {(name, key) for name, keys in made.items() for key in keys} == wanted


@pytest.mark.parametrize("name", CLUSTERS)
def test_ray_asks_everyone_for_its_token(name: str) -> None:
    assert CLUSTERS[name]["authOptions"]["mode"] == "token"


@pytest.mark.parametrize("name", CLUSTERS)
def test_what_the_head_knows_lies_in_redis(name: str) -> None:
    options = CLUSTERS[name]["gcsFaultToleranceOptions"]
    (port,) = only("Service", "redis")["spec"]["ports"]
    redis = PODS["redis"]["spec"]["containers"][0]

    assert options["redisAddress"] == f"redis:{port['port']}"
    assert options["redisPassword"]["valueFrom"] in [each["valueFrom"] for each in redis["env"]]
    assert selects({"matchLabels": only("Service", "redis")["spec"]["selector"]}, PODS["redis"])


@pytest.mark.parametrize("name", CLUSTERS)
def test_rays_autoscaler_finds_a_head_without_work_and_workers_that_come_and_go(name: str) -> None:
    config = _derive_autoscaling_config_from_ray_cr(
        {"metadata": {"name": name, "namespace": OURS}, "spec": CLUSTERS[name]}
    )
    types = config["available_node_types"]
    head_type = types.pop(config["head_node_type"])

    assert CLUSTERS[name]["enableInTreeAutoscaling"]
    assert head_type["resources"]["CPU"] == 0
    assert all(each["min_workers"] < each["max_workers"] for each in types.values())
    if name == "training":
        assert all(each["resources"]["GPU"] >= 1 and each["min_workers"] == 0 for each in types.values())
        for kind in ("CPU", "GPU"):
            most = sum(each["max_workers"] * each["resources"][kind] for each in types.values())
            assert head_type["resources"][f"{kind}_to_come"] == most


@pytest.mark.parametrize("pod", PODS)
def test_a_pod_is_nobody_in_particular(pod: str) -> None:
    context = PODS[pod]["spec"]["securityContext"]

    assert context["runAsNonRoot"]
    assert context["runAsUser"] > 0
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}


@pytest.mark.parametrize("name", [*CONTAINERS, *(f"{cluster}-autoscaler" for cluster in CLUSTERS)])
def test_a_container_has_limits_and_no_more_rights_than_it_needs(name: str) -> None:
    cluster = CLUSTERS.get(name.removesuffix("-autoscaler"))
    container = cluster["autoscalerOptions"] if cluster else CONTAINERS[name]

    assert container["securityContext"]["allowPrivilegeEscalation"] is False
    assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
    assert {"cpu", "memory"} <= set(container["resources"]["limits"])
    assert set(container["resources"]["requests"]) >= {"cpu", "memory"}


@pytest.mark.parametrize("name", [name for name in CONTAINERS if not name.startswith("watch/")])
def test_a_container_is_asked_whether_it_lives_and_is_ready_without_a_program_that_the_image_lacks(name: str) -> None:
    for probe in ("livenessProbe", "readinessProbe"):
        assert ("httpGet" in CONTAINERS[name][probe]) != name.startswith("redis/")


def test_requests_come_to_a_worker_only_while_its_proxy_answers() -> None:
    ready = CONTAINERS["serving-worker/ray-worker"]["readinessProbe"]["httpGet"]

    assert ready == {"path": "/-/healthz", "port": SERVE["http_options"]["port"]}


@pytest.mark.parametrize("pod", RAY_PODS)
def test_every_pod_of_ray_has_the_state_where_its_environment_says(pod: str) -> None:
    state = only("ConfigMap", "state")["data"]
    spec = RAY_PODS[pod]["spec"]
    (container,) = spec["containers"]
    volumes = {each["name"]: each["persistentVolumeClaim"]["claimName"] for each in spec["volumes"]}
    mounted = {each["mountPath"]: volumes[each["name"]] for each in container["volumeMounts"]}

    assert {"configMapRef": {"name": "state"}} in container["envFrom"]
    assert mounted[state[HOME]] == only("PersistentVolumeClaim", "state")["metadata"]["name"]
    assert only("PersistentVolumeClaim", "state")["spec"]["accessModes"] == ["ReadWriteMany"]


def test_the_project_knows_every_variable_that_is_set() -> None:
    names = {name for each in OBJECTS if each["kind"] == "ConfigMap" for name in each["data"]}
    names |= {each["name"] for pod in RAY_PODS.values() for found in values(pod, "env") for each in found}
    code = "".join(
        file.read_text() for floor in ("modeling", "serving", "ray_app") for file in ROOT.glob(f"{floor}/**/*.py")
    )

    assert HOME in names
    assert not [name for name in names if f'"{name}"' not in code]


def test_ray_serve_accepts_the_configuration_and_builds_what_the_project_has() -> None:
    (application,) = ServeDeploySchema.model_validate(SERVE).applications
    builder = import_attr(application.import_path)
    (arguments,) = builder.__annotations__.keys() - {"return"}
    kind: type[BaseModel] = builder.__annotations__[arguments]
    scaling = kind.model_validate(application.args).scaling  # type: ignore[attr-defined]

    assert scaling.least > 1  # one may be lost
    assert [each.name for each in application.deployments] == [Ingress.name]
    assert application.deployments[0].ray_actor_options.num_cpus > 0  # or it could run on the head


def test_workers_have_room_for_all_replicas_while_they_are_replaced() -> None:
    (group,) = CLUSTERS["serving"]["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    (application,) = SERVE["applications"]
    ingress = application["deployments"][0]["ray_actor_options"]["num_cpus"]
    processors = group["maxReplicas"] * int(container["resources"]["limits"]["cpu"])

    assert application["args"]["scaling"]["most"] * (1 + SURGE_PERCENT / 100) + 2 * ingress <= processors


def test_kuberay_makes_the_service_for_the_port_that_ray_serve_listens_on() -> None:
    port = SERVE["http_options"]["port"]

    for name in ("serving-head/ray-head", "serving-worker/ray-worker"):
        assert {"name": "serve", "containerPort": port} in CONTAINERS[name]["ports"]
    assert SERVE["http_options"]["host"] == "0.0.0.0"  # noqa: S104


def test_a_drained_node_leaves_replicas_that_answer() -> None:
    (budget,) = [each["spec"] for each in OBJECTS if each["kind"] == "PodDisruptionBudget"]
    (group,) = CLUSTERS["serving"]["workerGroupSpecs"]

    assert [pod for pod, template in PODS.items() if selects(budget["selector"], template)] == ["serving-worker"]
    assert 1 <= budget["minAvailable"] < group["minReplicas"]  # else no node could ever be drained
    assert "maxUnavailable" not in budget  # which needs a controller that tells its scale


def allowed(target: str) -> dict[int | None, list[Object]]:
    """By port (None: all), from where connections to a pod are let in."""
    found: dict[int | None, list[Object]] = {}
    for policy in (each["spec"] for each in OBJECTS if each["kind"] == "NetworkPolicy"):
        if policy["podSelector"] and selects(policy["podSelector"], PODS[target]):
            for rule in policy["ingress"]:
                for port in rule.get("ports", [{"port": None}]):
                    found.setdefault(port["port"], []).extend(rule["from"])
    return found


def lets_in(origins: list[Object], source: str) -> bool:
    """Whether a pod of ours is among them."""
    return any("namespaceSelector" not in each and selects(each["podSelector"], PODS[source]) for each in origins)


@pytest.mark.parametrize("target", PODS)
@pytest.mark.parametrize("source", PODS)
def test_pods_reach_their_own_cluster_and_heads_redis(source: str, target: str) -> None:
    ports = allowed(target)
    own = target not in ("redis", "watch") and source.partition("-")[0] == target.partition("-")[0]

    assert lets_in(ports.get(None, []), source) == own
    assert lets_in(ports.get(6379, []), source) == (target == "redis" and source.endswith("-head"))
    assert lets_in(ports.get(8265, []), source) == ((source, target) == ("watch", "training-head"))


def test_from_other_namespaces_there_are_the_endpoint_and_kuberays_way_to_the_dashboard() -> None:
    outside = {
        (pod, port)
        for pod in PODS
        for port, origins in allowed(pod).items()
        if any("namespaceSelector" in o for o in origins)
    }

    assert any(each.get("spec") == {"podSelector": {}, "policyTypes": ["Ingress"]} for each in OBJECTS)
    assert outside == {
        ("training-head", 8265),
        ("serving-head", 8265),
        ("serving-worker", SERVE["http_options"]["port"]),
    }


def test_what_a_job_runs_is_a_command_that_the_project_has() -> None:
    runs(JOB["spec"]["entrypoint"])
    for line in CRON["args"][-1].split("&&"):
        runs(line)


def runs(line: str) -> None:
    """Raises where a command would not run."""
    program, *words = line.split()
    command: Any = get_group(application())

    assert program in tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    while hasattr(command, "commands"):
        command, words = command.commands[words[0]], words[1:]
    command.make_context(command.name, words)


def test_jobs_run_on_a_worker_of_the_cluster_that_stands() -> None:
    spec, cluster = JOB["spec"], TRAINING["metadata"]["name"]
    options = dict(zip(CRON["command"], CRON["command"][1:], strict=False))
    tokens = [each["valueFrom"]["secretKeyRef"] for each in CRON["env"] if each["name"] == "RAY_AUTH_TOKEN"]

    assert spec["clusterSelector"] == {"ray.io/cluster": cluster}
    assert spec["entrypointNumCpus"] > 0
    assert JOB["metadata"]["namespace"] == KUSTOMIZATION["namespace"] == only("Namespace", OURS)["metadata"]["name"]
    assert CRON["command"][:3] == ["ray", "job", "submit"]
    assert options["--address"] == f"http://{cluster}-head-svc:8265"
    assert int(options["--entrypoint-num-cpus"]) > 0
    assert tokens == [{"name": TRAINING["spec"]["authOptions"]["secretName"], "key": "auth_token"}]


def test_the_image_holds_all_that_the_project_is_installed_from_and_nothing_else() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    packages = {name.partition(".")[0] for name in project["tool"]["setuptools"]["packages"]}
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert {line[1:] for line in lines if line.startswith("!")} == packages | {
        "pyproject.toml",
        "constraints.txt",
        project["project"]["readme"],
    }


def test_the_image_is_installed_with_the_constraints_and_runs_as_the_pods_do() -> None:
    text = (ROOT / "Dockerfile").read_text()
    installs = re.findall(r"pip install .+", text)
    (user,) = re.findall(r"^USER (\d+):(\d+)$", text, re.MULTILINE)

    assert [each for each in installs if "-c constraints.txt" not in each] == ["pip install --no-deps ."]
    for template in RAY_PODS.values():
        context = template["spec"]["securityContext"]
        assert user == (str(context["runAsUser"]), str(context["runAsGroup"]))
