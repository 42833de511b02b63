"""T5 and Flan-T5: an encoder reads, a decoder answers.

Everything is carried over for the decoder's first token, which is what a demand model asks of it: the encoder with its
relative positions, cross-attention, feed-forward layers, norms and the language head. The decoder's relative positions
come along, too; with one token they make no difference.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from transformers import T5Config, T5ForConditionalGeneration

from demand.errors import CheckpointError
from modeling.counterpart import Counterpart, refuse
from modeling.settings import ModelSettings
from modeling.weights import Correspondence, Paired, Renamed, Split, Stacked

_ACTIVATIONS = {"relu": "relu", "gated-gelu": "geglu_tanh"}
_ENCODER, _DECODER = "t5.encoder.layers.{layer}.", "t5.decoder.layers.{layer}."
_READS, _ANSWERS = "encoder.block.{layer}.layer.", "decoder.block.{layer}.layer."


def _settings(config: Any) -> ModelSettings:
    refuse(config, relative_attention_num_buckets=32, relative_attention_max_distance=128)
    if config.feed_forward_proj not in _ACTIVATIONS:
        raise CheckpointError(f"t5 with feed_forward_proj={config.feed_forward_proj} is not supported")
    if config.num_decoder_layers != config.num_layers:
        raise CheckpointError(f"t5 with {config.num_layers} encoder and {config.num_decoder_layers} decoder layers")
    return ModelSettings.model_validate(
        {
            "architecture": "t5",
            "family": "t5",
            "layers": config.num_layers,
            "hidden": config.d_model,
            "heads": config.num_heads,
            "head_width": config.d_kv,
            "ffn": config.d_ff,
            "dropout": config.dropout_rate,
            "norm": "rms",
            "norm_epsilon": config.layer_norm_epsilon,
            "activation": _ACTIVATIONS[config.feed_forward_proj],
            "bias": False,
            "qkv_bias": False,
            "positions": "relative",
            "language_head": "own",
        }
    )


def _config(settings: ModelSettings, vocabulary: int) -> T5Config:
    names = {ours: theirs for theirs, ours in _ACTIVATIONS.items()}
    untied: dict[str, Any] = {"tie_word_embeddings": False}  # T5Config takes it, but does not declare it
    return T5Config(
        vocab_size=vocabulary,
        d_model=settings.hidden,
        d_kv=settings.width,
        d_ff=settings.ffn,
        num_layers=settings.layers,
        num_heads=settings.heads,
        dropout_rate=settings.dropout,
        layer_norm_epsilon=settings.norm_epsilon,
        feed_forward_proj=names[settings.activation],
        **untied,
    )


def _attention(ours: str, theirs: str) -> tuple[Split, Renamed]:
    parts = (f"{theirs}.q.weight", f"{theirs}.k.weight", f"{theirs}.v.weight")
    return Split(f"{ours}.linear_qkv.weight", parts), Renamed(f"{ours}.linear_proj.weight", f"{theirs}.o.weight")


@dataclass(frozen=True)
class _Inner:
    """The feed-forward layers' first matrix: T5 has one, T5 1.1 and Flan-T5 have a gate and what it gates."""

    ours: str
    theirs: str

    def read(self, theirs: Mapping[str, Tensor], settings: ModelSettings, layer: int = 0) -> Tensor:
        return self._kind(settings).read(theirs, settings, layer)

    def write(self, ours: Tensor, settings: ModelSettings, layer: int = 0) -> dict[str, Tensor]:
        return self._kind(settings).write(ours, settings, layer)

    def _kind(self, settings: ModelSettings) -> Correspondence:
        if settings.activation == "relu":
            return Renamed(self.ours, f"{self.theirs}.wi.weight")
        return Stacked(self.ours, (f"{self.theirs}.wi_0.weight", f"{self.theirs}.wi_1.weight"))


def _feed_forward(ours: str, theirs: str) -> tuple[_Inner, Renamed]:
    return _Inner(f"{ours}linear_fc1.weight", theirs), Renamed(f"{ours}linear_fc2.weight", f"{theirs}.wo.weight")


T5 = Counterpart(
    T5ForConditionalGeneration,
    _settings,
    _config,
    "shared.weight",
    (
        Renamed("t5.encoder.final_layernorm.weight", "encoder.final_layer_norm.weight"),
        Renamed("head.norm.weight", "decoder.final_layer_norm.weight"),
        *(
            Renamed(
                f"t5.{side}_relative_pos_emb.relative_attention_bias.weight",
                f"{side}.block.0.layer.0.SelfAttention.relative_attention_bias.weight",
            )
            for side in ("encoder", "decoder")
        ),
    ),
    (
        Renamed(f"{_ENCODER}input_layernorm.weight", f"{_READS}0.layer_norm.weight"),
        *_attention(f"{_ENCODER}self_attention", f"{_READS}0.SelfAttention"),
        Renamed(f"{_ENCODER}pre_mlp_layernorm.weight", f"{_READS}1.layer_norm.weight"),
        *_feed_forward(f"{_ENCODER}mlp.", f"{_READS}1.DenseReluDense"),
        Renamed(f"{_DECODER}input_layernorm.weight", f"{_ANSWERS}0.layer_norm.weight"),
        *_attention(f"{_DECODER}self_attention", f"{_ANSWERS}0.SelfAttention"),
        Renamed(f"{_DECODER}pre_cross_attn_layernorm.weight", f"{_ANSWERS}1.layer_norm.weight"),
        Renamed(f"{_DECODER}cross_attention.linear_q.weight", f"{_ANSWERS}1.EncDecAttention.q.weight"),
        Paired(
            f"{_DECODER}cross_attention.linear_kv.weight",
            (f"{_ANSWERS}1.EncDecAttention.k.weight", f"{_ANSWERS}1.EncDecAttention.v.weight"),
        ),
        Renamed(f"{_DECODER}cross_attention.linear_proj.weight", f"{_ANSWERS}1.EncDecAttention.o.weight"),
        Renamed(f"{_DECODER}pre_mlp_layernorm.weight", f"{_ANSWERS}2.layer_norm.weight"),
        *_feed_forward(f"{_DECODER}mlp.", f"{_ANSWERS}2.DenseReluDense"),
    ),
    head_scale=lambda config: config.d_model**-0.5 if config.scale_decoder_outputs else 1.0,
    words_again=("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"),
)
