"""The application as Ray Serve builds it from RayService's configuration; no cluster is started."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from ray._common.utils import import_attr
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary
from ray.serve._private.build_app import build_app
from ray.serve.deployment import Deployment

from demand.catalogue import Catalogue
from demand.errors import CheckpointError, ModelNotFoundError, SettingsError
from demand.vocabulary import Vocabulary
from modeling.registry import Registry
from serving.ingress import Ingress
from serving.keys import ENVIRONMENT, KeyFile
from serving.replica import ModelReplica
from tests.serving.conftest import reference, save_model

IMPORT_PATH = "ray_app.rayservice:application"
KEY = "a key of the tests"
SCALING = {"least": 2, "most": 5}


@pytest.fixture(scope="module")
def model_folder(catalogue: Catalogue, vocabulary: Vocabulary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("rayservice") / "model", catalogue, vocabulary, "compact", 0.5)


@pytest.fixture(scope="module")
def registered(model_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with demand@1, the champion, and demand@2, the challenger."""
    home = tmp_path_factory.mktemp("home")
    registry = Registry(home)
    for _ in range(2):
        registry.register("demand", model_folder, None, {})
    registry.promote("demand@2", "challenger")
    return home


@pytest.fixture
def home(registered: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DEMANDCAST_HOME", str(registered))
    monkeypatch.setenv(ENVIRONMENT, KEY)
    return registered


def built(**arguments: Any) -> dict[str, Deployment]:
    """By name, as Ray Serve's own task builds them."""
    application = call_user_app_builder_with_args_if_necessary(import_attr(IMPORT_PATH), arguments)
    return {each.name: each for each in build_app(application, name="demandcast").deployments}


def test_replicas_answer_with_what_the_registry_names_and_scale_as_was_said(home: Path, model_folder: Path) -> None:
    deployments = built(scaling=SCALING, model="demand@champion", challenger_share=0.1)

    assert set(deployments) == {Ingress.name, ModelReplica.name}
    replicas = deployments[ModelReplica.name]
    assert replicas.user_config == {
        "champion": reference(model_folder, 1).model_dump(),
        "challenger": reference(model_folder, 2).model_dump(),
        "share": 0.1,
    }
    assert deployments[Ingress.name].user_config == replicas.user_config
    scaling = replicas._deployment_config.autoscaling_config
    assert (scaling.min_replicas, scaling.max_replicas) == (2, 5)


def test_keys_of_the_environment_are_asked_for(home: Path) -> None:
    _, keys, *_ = built(scaling=SCALING)[Ingress.name].init_args

    assert keys.wanted
    assert keys.find(KEY)


def test_an_endpoint_that_anybody_could_ask_must_be_wanted(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT)

    with pytest.raises(SettingsError, match="anybody could ask"):
        built(scaling=SCALING)
    assert built(scaling=SCALING, without_keys=True)


def test_a_key_of_the_file_is_enough(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(ENVIRONMENT)
    file = KeyFile(home / "keys.sqlite")
    file.create("shop")

    try:
        assert built(scaling=SCALING)
    finally:
        file.path.unlink()


def test_what_is_not_registered_or_damaged_is_refused(home: Path, tmp_path: Path) -> None:
    Registry(home).register("broken", tmp_path, None, {})

    with pytest.raises(ModelNotFoundError):
        built(scaling=SCALING, model="demand@9")
    with pytest.raises(CheckpointError):
        built(scaling=SCALING, model="broken@1")


@pytest.mark.parametrize("wrong", [{"modle": "demand@1"}, {"scaling": {"least": 1, "mots": 2}}, {"scaling": None}])
def test_a_misspelt_argument_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        built(**{"scaling": SCALING, **wrong})
