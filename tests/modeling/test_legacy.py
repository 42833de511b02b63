"""Legacy Megatron-LM GPT-2 checkpoints: files of every version compute what transformers computes."""

import os
from argparse import Namespace
from itertools import product
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import GPT2Config, GPT2LMHeadModel

from demand.errors import CheckpointError
from modeling import legacy_files
from modeling.checkpoint import load_checkpoint, save_checkpoint
from modeling.export import export_hf
from modeling.megatron.model import DemandModel
from modeling.megatron.shards import load_weights
from modeling.pretrained import import_pretrained
from tests.conftest import plain_text
from tests.modeling.test_pretrained import ROWS, write_pretrained

SHAPE = {"n_layer": 2, "n_embd": 128, "n_positions": 64, "vocab_size": ROWS}
ARGS = {"num_attention_heads": 4, "num_layers": 2, "hidden_dropout": 0.2, "params_dtype": torch.float16}
FILE = "release/mp_rank_00/model_optim_rng.pt"
LAYER = {"ln_1": "input_layernorm", "attn.c_proj": "attention.dense", "ln_2": "post_attention_layernorm"}
LAYER |= {
    "mlp.c_fc": "mlp.dense_h_to_4h",
    "mlp.c_proj": "mlp.dense_4h_to_h",
    "attn.c_attn": "attention.query_key_value",
}


class Planted:
    """Would make a folder where it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def rows_of(version: float, heads: int, width: int) -> list[int]:
    """For each row that a file of a version has: its place among all queries, then all keys, then all values."""
    parts, places = range(3), range(width)
    if version == 0:
        order = list(product(parts, range(heads), places))
    elif version == 1.0:
        order = [(part, head, place) for head, place, part in product(range(heads), places, parts)]
    else:
        order = [(part, head, place) for head, part, place in product(range(heads), parts, places)]
    return [part * heads * width + head * width + place for part, head, place in order]


def legacy(model: GPT2LMHeadModel, version: float = 0, newer: bool = False) -> dict[str, Any]:
    """What a file of a version holds of a model; newer ones name some of it differently."""
    config, theirs = model.config, model.transformer.state_dict()
    rows = rows_of(version, config.n_head, config.n_embd // config.n_head)
    layers = {f"final_layernorm.{kind}": theirs[f"ln_f.{kind}"] for kind in ("weight", "bias")}
    for layer, (name, ours), kind in product(range(config.n_layer), LAYER.items(), ("weight", "bias")):
        tensor = theirs[f"h.{layer}.{name}.{kind}"].T
        tensor = tensor[rows] if name == "attn.c_attn" else tensor
        ours = ours.replace("attention.", "self_attention.") if newer and ours.startswith("attention.") else ours
        layers[f"layers.{layer}.{ours}.{kind}"] = tensor.contiguous()
    embedding = {
        "word_embeddings": {"weight": theirs["wte.weight"]},
        "position_embeddings": {"weight": theirs["wpe.weight"]},
    }
    stack = "encoder" if newer else "transformer"
    return {"model": {"language_model": {"embedding": embedding, stack: layers}}}


def write(content: Any, folder: Path, file: str = FILE, **options: Any) -> Path:
    (folder / file).parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, folder / file, **options)
    return folder


def zipped(folder: Path, out: Path) -> Path:
    with ZipFile(out, "w") as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, file.relative_to(folder))
    return out


def reference(folder: Path, heads: int = 2, **options: Any) -> GPT2LMHeadModel:
    """A random GPT-2; its tokenizer.json lies in the folder that holds the folder."""
    write_pretrained(GPT2Config(**SHAPE, n_head=heads, **options), folder)
    (folder / "tokenizer.json").rename(folder.parent / "tokenizer.json")
    return GPT2LMHeadModel.from_pretrained(folder).eval()


def assert_same_logits(path: Path, theirs: GPT2LMHeadModel, tmp_path: Path) -> None:
    save_checkpoint(import_pretrained(str(path)), tmp_path / "base")
    base = load_checkpoint(tmp_path / "base")
    model = DemandModel(base.settings, len(base.vocabulary), 0).eval()
    load_weights(model, base.weights)
    tokens = np.random.default_rng(0).integers(0, ROWS, 40)
    with torch.no_grad():
        ours, expected = model.next_token_logits(plain_text(tokens)), theirs(torch.as_tensor(tokens[None])).logits[0]
    torch.testing.assert_close(ours[:, :ROWS], expected, atol=1e-4, rtol=1e-4)
    assert ours.std() > 0.1


@pytest.mark.parametrize("as_zip", [False, True], ids=["folder", "zip"])
@pytest.mark.parametrize(("version", "newer"), [(0, False), (1.0, False), (2.0, False), (3.0, True)])
def test_logits_equal_transformers(version: float, newer: bool, as_zip: bool, tmp_path: Path) -> None:
    theirs = reference(tmp_path / "hf", heads=4)
    content = {
        **legacy(theirs, version, newer),
        "checkpoint_version": version,
        "args": Namespace(**ARGS),
        "iteration": 9,
    }
    path = write(content, tmp_path / "legacy")

    assert_same_logits(zipped(path, tmp_path / "legacy.zip") if as_zip else path, theirs, tmp_path)


def test_a_file_as_the_345m_models_is_read_without_version_and_args(tmp_path: Path) -> None:
    """Half precision, PyTorch's first file format, and heads of 64."""
    theirs = reference(tmp_path / "hf").half()
    path = write(legacy(theirs), tmp_path / "legacy", _use_new_zipfile_serialization=False)

    assert_same_logits(path, theirs.float(), tmp_path)
    card = load_checkpoint(tmp_path / "base").card
    assert card["pretrained"] == {"source": str(path), "family": "gpt2", "parameters": theirs.num_parameters()}


@pytest.mark.parametrize(
    ("args", "activation"),
    [
        ({"bias_gelu_fusion": True}, "gelu_new"),
        ({"bias_gelu_fusion": False, "openai_gelu": True}, "gelu_new"),
        ({"bias_gelu_fusion": False, "openai_gelu": False}, "gelu"),
    ],
)
def test_activation_and_epsilon_are_the_files(args: dict[str, Any], activation: str, tmp_path: Path) -> None:
    theirs = reference(tmp_path / "hf", activation_function=activation, layer_norm_epsilon=0.1)
    path = write({**legacy(theirs), "args": Namespace(**args, layernorm_epsilon=0.1)}, tmp_path / "legacy")

    assert_same_logits(path, theirs, tmp_path)


def test_it_goes_out_as_the_gpt2_it_is(tmp_path: Path) -> None:
    theirs = reference(tmp_path / "hf")
    base = import_pretrained(str(write(legacy(theirs), tmp_path / "legacy")))

    export_hf(base, tmp_path / "out")

    again = GPT2LMHeadModel.from_pretrained(tmp_path / "out").eval()
    tokens = torch.arange(40)[None]
    with torch.no_grad():
        logits = again(tokens).logits[..., :ROWS]
        torch.testing.assert_close(logits, theirs(tokens).logits, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("file", ["iter_0000100/mp_rank_00/model_optim_rng.pt", "mp_rank_00/model_optim_rng.pt"])
@pytest.mark.parametrize("prefix", ["", "gpt2-"])
def test_other_places_and_a_tokenizer_inside(file: str, prefix: str, tmp_path: Path) -> None:
    path = write(legacy(reference(tmp_path / "hf")), tmp_path / "legacy", file)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    (tmp_path / "tokenizer.json").unlink()
    for name in tokenizer.model.save(str(path)):
        Path(name).rename(path / f"{prefix}{Path(name).name}")

    for each in (path, zipped(path, tmp_path / "legacy.zip")):
        vocabulary = import_pretrained(str(each)).vocabulary
        assert vocabulary.first_control == ROWS
        assert vocabulary.text("what is wanted") == tokenizer.encode("what is wanted").ids
        assert vocabulary.tokenizer.decode(vocabulary.text(" what, then")) == " what, then"


def refusal(path: Path) -> str:
    with pytest.raises(CheckpointError) as error:
        import_pretrained(str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize("new", [True, False])
def test_a_pickled_class_is_named_and_never_made(new: bool, tmp_path: Path) -> None:
    let_in = set(torch.serialization.get_safe_globals())
    content = {**legacy(reference(tmp_path / "hf")), "rng_state": [Planted(tmp_path / "planted")]}
    path = write(content, tmp_path / "legacy", _use_new_zipfile_serialization=new)

    assert "wants to load posix.mkdir" in refusal(path)
    assert "wants to load posix.mkdir" in refusal(zipped(path, tmp_path / "legacy.zip"))
    assert not (tmp_path / "planted").exists()
    assert set(torch.serialization.get_safe_globals()) == let_in


def test_what_lies_wrong_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = legacy(reference(tmp_path / "hf"))
    path = write(content, tmp_path / "legacy")
    archive = zipped(path, tmp_path / "legacy.zip")
    ranks = write(content, write(content, tmp_path / "ranks"), "release/mp_rank_01/model_optim_rng.pt")
    several = write(content, write(content, tmp_path / "several"), "iter_0000001/mp_rank_00/model_optim_rng.pt")
    (tmp_path / "empty").mkdir()

    assert "split over several ranks (release/mp_rank_01" in refusal(ranks)
    assert "split over several ranks (release/mp_rank_01" in refusal(zipped(ranks, tmp_path / "ranks.zip"))
    assert "holds several checkpoints" in refusal(several)
    assert "holds no release/mp_rank_00" in refusal(zipped(tmp_path / "empty", tmp_path / "empty.zip"))
    with ZipFile(tmp_path / "outside.zip", "w") as outside:
        outside.write(path / FILE, f"../{FILE}")
    assert "holds no release/mp_rank_00" in refusal(tmp_path / "outside.zip")
    whole = archive.read_bytes()
    for damaged in (whole[:1_000], whole[:100_000] + b"damaged" + whole[100_007:]):
        (tmp_path / "damaged.zip").write_bytes(damaged)
        assert "cannot be unpacked" in refusal(tmp_path / "damaged.zip")
    monkeypatch.setattr(legacy_files, "LARGEST", 1_000)
    assert "more than 1,000 bytes" in refusal(archive)
    (tmp_path / "tokenizer.json").unlink()
    assert "has no tokenizer: put GPT-2's tokenizer.json, or vocab.json and merges.txt" in refusal(path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert "is no tokenizer" in refusal(path)


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    theirs = reference(tmp_path / "hf")

    def of(change: Any) -> str:
        """The refusal of a file whose content was changed."""
        content = legacy(theirs)
        language_model = content["model"]["language_model"]
        change(content, language_model["transformer"], language_model["embedding"])
        return refusal(write(content, tmp_path / "legacy"))

    dense, joined = "layers.1.attention.dense.weight", "layers.0.attention.query_key_value.weight"
    assert "no parameter 'language_model.transformer.layers.1.att" in of(lambda file, layers, words: layers.pop(dense))
    assert "would be lost: language_model.embedding.tokentype" in of(
        lambda file, layers, words: words.update(tokentype_embeddings={"weight": torch.zeros(2, 128)})
    )
    assert "would be lost: lm_head.bias" in of(
        lambda file, layers, words: file["model"].update(lm_head={"bias": torch.zeros(2)})
    )
    assert "it lacks language_model.embedding" in of(lambda file, layers, words: words.clear())
    assert "has the shape (128, 4)" in of(lambda file, layers, words: layers.update({dense: torch.zeros(128, 4)}))
    assert "does not fit 2 heads" in of(lambda file, layers, words: layers.update({joined: torch.zeros(100, 128)}))
    assert "is a str" in of(lambda file, layers, words: layers.update({dense: "weights"}))
    assert "is a dict" in of(lambda file, layers, words: layers.update(layers=layers))
    assert "checkpoint_version 4.0: known are 0, 1.0" in of(lambda file, *_: file.update(checkpoint_version=4.0))
    assert "checkpoint_version [0]" in of(lambda file, *_: file.update(checkpoint_version=[0]))
    for args, named in (
        ({"num_layers": 3}, "holds 2 layers, but should hold 3"),
        ({"model_parallel_size": 2}, "a legacy GPT-2 with model_parallel_size=2"),
        ({"apply_residual_connection_post_layernorm": True}, "post_layernorm=True"),
        ({"num_attention_heads": 3}, "must be a multiple"),
        ({"layernorm_epsilon": "small"}, "norm_epsilon"),
    ):
        assert named in of(lambda file, *_, args=args: file.update(args=Namespace(**args)))
    assert "holds no model" in refusal(write([1], tmp_path / "legacy"))
    for damaged in (b"", b"no pickle", b"\x80\x02]", (tmp_path / "hf" / "model.safetensors").read_bytes()):
        (tmp_path / "legacy" / FILE).write_bytes(damaged)
        assert "cannot be read" in (line := refusal(tmp_path / "legacy"))
        assert "weights_only" not in line
