"""Megatron-core's T5Model under the same prompts, head, checkpoints and serving as the decoder."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from ray import serve

from demand.dataset import Dataset
from demand.errors import SettingsError
from demand.moments import moment
from demand.protocols import Cutoff
from demand.questions import Question
from modeling.predictor import Predictor
from ray_app.cluster import free_port
from ray_app.presets import load_settings
from serving.application import Served, running
from serving.schemas import CustomerRecord
from tests.conftest import CUTOFF
from tests.serving.conftest import champion
from training.completion import finish
from training.run import Plan, best, fit, prepare

pytestmark = pytest.mark.usefixtures("ray_cluster")
AS_OF = moment(CUTOFF)
TINY = {"model.layers": 1, "model.hidden": 32, "model.ffn": 64, "training.epochs": 1}
TINY |= {"training.microbatch_tokens": 2_048}


def self_signed(folder: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "tests")])
    now = datetime.now(UTC)
    host = x509.SubjectAlternativeName([x509.IPAddress(IPv4Address("127.0.0.1"))])
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number(), now, now + timedelta(days=1))
        .add_extension(host, critical=False)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(made.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return folder / "certificate.pem", folder / "key.pem"


@pytest.mark.drill
def test_an_encoder_and_decoder_is_trained_and_served_by_https_at_the_one_port_that_ray_serve_has(
    shop: Dataset, tmp_path: Path
) -> None:
    plan = Plan(data=shop.folder, settings=load_settings("t5-nano").with_values(TINY), protocol=Cutoff(cutoff=AS_OF))
    checkpoint, metrics = best(fit(prepare(plan), "t5", tmp_path), tmp_path)
    card = finish(plan, "t5", checkpoint, metrics, tmp_path / "model")
    customer = next(iter(shop.customers(before=AS_OF)))
    record = CustomerRecord.of(customer).model_dump(mode="json")

    certificate, key = self_signed(tmp_path)
    served = Served(champion(tmp_path / "model"), port=free_port(), certificate=certificate, private_key=key)
    with running(served) as endpoint:
        assert endpoint.url.startswith("https://")
        trusting = ssl.create_default_context(cafile=certificate)
        asked = {"customer": record, "as_of": f"{CUTOFF}T00:00:00Z", "top_k": 6}
        answer = httpx.post(f"{endpoint.url}/v1/predict", json=asked, timeout=30, verify=trusting).json()

    elsewhere = Served(champion(tmp_path / "model"), port=free_port())
    with pytest.raises(SettingsError, match="Ray Serve runs in this Ray cluster already"), running(elsewhere):
        pass
    serve.shutdown()  # another test's endpoint listens on another port

    assert card["validation"]["ndcg@10"] > 0.4
    bought = {item for order in customer.orders for item in order.items}
    assert len({demand["item_id"] for demand in answer["demands"]} & bought) >= 4
    chances = Predictor.load(tmp_path / "model").answer([Question(customer, AS_OF)], 6)[0]
    assert [demand["probability"] for demand in answer["demands"]] == pytest.approx(
        [each.probability for each in chances]
    )
