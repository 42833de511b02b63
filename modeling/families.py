"""Families of models that both transformers and Megatron-core know: their shapes and their parameters."""

from collections.abc import Callable
from typing import Any

from transformers import (
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    PretrainedConfig,
    PreTrainedModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
)

from demand.errors import CheckpointError
from modeling.counterpart import Counterpart, both, refuse
from modeling.settings import Family, ModelSettings
from modeling.t5_family import T5
from modeling.weights import Correspondence, Joined, Renamed, Split, Stacked

ATTENTION = "gpt.decoder.layers.{layer}.self_attention."
MLP = "gpt.decoder.layers.{layer}.mlp."
NORMS = ("gpt.decoder.layers.{layer}.input_layernorm", "gpt.decoder.layers.{layer}.pre_mlp_layernorm")
PLACES = "gpt.embedding.position_embeddings.weight"

# GPT-2

_GPT2_ACTIVATIONS = {"gelu_new": "gelu_tanh", "gelu_pytorch_tanh": "gelu_tanh", "gelu": "gelu"}


def _gpt2_settings(config: Any) -> ModelSettings:
    refuse(config, scale_attn_weights=True, scale_attn_by_inverse_layer_idx=False, add_cross_attention=False)
    if config.activation_function not in _GPT2_ACTIVATIONS:
        raise CheckpointError(f"gpt2 with activation_function={config.activation_function} is not supported")
    return ModelSettings.model_validate(
        {
            "family": "gpt2",
            "layers": config.n_layer,
            "hidden": config.n_embd,
            "heads": config.n_head,
            "ffn": config.n_inner or 4 * config.n_embd,
            "dropout": config.resid_pdrop,
            "norm_epsilon": config.layer_norm_epsilon,
            "activation": _GPT2_ACTIVATIONS[config.activation_function],
            "positions": "learned",
            "places": config.n_positions,
            "language_head": "tied" if config.tie_word_embeddings else "own",
        }
    )


def _gpt2_config(settings: ModelSettings, vocabulary: int) -> GPT2Config:
    return GPT2Config(
        vocab_size=vocabulary,
        n_positions=settings.places or 1,
        n_embd=settings.hidden,
        n_layer=settings.layers,
        n_head=settings.heads,
        n_inner=settings.ffn,
        activation_function={"gelu_tanh": "gelu_new", "gelu": "gelu"}[settings.activation],
        layer_norm_epsilon=settings.norm_epsilon,
        resid_pdrop=settings.dropout,
        embd_pdrop=settings.dropout,
        attn_pdrop=0.0,
    )


_GPT2 = Counterpart(
    GPT2LMHeadModel,
    _gpt2_settings,
    _gpt2_config,
    "transformer.wte.weight",
    (Renamed(PLACES, "transformer.wpe.weight"), *both("head.norm", "transformer.ln_f")),
    (
        *both(NORMS[0], "transformer.h.{layer}.ln_1"),
        Joined(f"{ATTENTION}linear_qkv.weight", "transformer.h.{layer}.attn.c_attn.weight"),
        Joined(f"{ATTENTION}linear_qkv.bias", "transformer.h.{layer}.attn.c_attn.bias"),
        *both(f"{ATTENTION}linear_proj", "transformer.h.{layer}.attn.c_proj", transposed=True),
        *both(NORMS[1], "transformer.h.{layer}.ln_2"),
        *both(f"{MLP}linear_fc1", "transformer.h.{layer}.mlp.c_fc", transposed=True),
        *both(f"{MLP}linear_fc2", "transformer.h.{layer}.mlp.c_proj", transposed=True),
    ),
)

# GPT-NeoX without parallel residuals: what models from scratch are


def _gpt_neox_settings(config: Any) -> ModelSettings:
    rope = config.rope_parameters
    refuse(config, use_parallel_residual=False, hidden_act="gelu", attention_bias=True)
    if rope["rope_type"] != "default" or rope.get("partial_rotary_factor", 1.0) != 1.0:
        raise CheckpointError(f"gpt_neox with rope_parameters={rope} is not supported: only whole, unscaled rotation")
    return ModelSettings(
        family="gpt_neox",
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        ffn=config.intermediate_size,
        dropout=config.hidden_dropout,
        norm_epsilon=config.layer_norm_eps,
        rope_base=rope["rope_theta"],
        language_head="tied" if config.tie_word_embeddings else "own",
    )


def _gpt_neox_config(settings: ModelSettings, vocabulary: int) -> GPTNeoXConfig:
    return GPTNeoXConfig(
        vocab_size=vocabulary,
        hidden_size=settings.hidden,
        num_hidden_layers=settings.layers,
        num_attention_heads=settings.heads,
        intermediate_size=settings.ffn,
        hidden_act="gelu",
        hidden_dropout=settings.dropout,
        layer_norm_eps=settings.norm_epsilon,
        use_parallel_residual=False,
        rope_parameters={"rope_type": "default", "rope_theta": settings.rope_base, "partial_rotary_factor": 1.0},
    )


_GPT_NEOX = Counterpart(
    GPTNeoXForCausalLM,
    _gpt_neox_settings,
    _gpt_neox_config,
    "gpt_neox.embed_in.weight",
    both("head.norm", "gpt_neox.final_layer_norm"),
    (
        *both(NORMS[0], "gpt_neox.layers.{layer}.input_layernorm"),
        *both(f"{ATTENTION}linear_qkv", "gpt_neox.layers.{layer}.attention.query_key_value"),
        *both(f"{ATTENTION}linear_proj", "gpt_neox.layers.{layer}.attention.dense"),
        *both(NORMS[1], "gpt_neox.layers.{layer}.post_attention_layernorm"),
        *both(f"{MLP}linear_fc1", "gpt_neox.layers.{layer}.mlp.dense_h_to_4h"),
        *both(f"{MLP}linear_fc2", "gpt_neox.layers.{layer}.mlp.dense_4h_to_h"),
    ),
)

# Llama, Qwen2 and Qwen3

_LLAMA3_SCALING = {"low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8_192}
"""The only scaling that Megatron-core's RotaryEmbedding knows."""


def _llama_settings(config: Any) -> ModelSettings:
    refuse(config, hidden_act="silu", attention_bias=False, mlp_bias=False, use_sliding_window=False)
    rope = config.rope_parameters
    scaled = rope["rope_type"] == "llama3"
    if not scaled and rope["rope_type"] != "default":
        raise CheckpointError(f"{config.model_type} with rope_type={rope['rope_type']} is not supported")
    if scaled and any(rope[name] != value for name, value in _LLAMA3_SCALING.items()):
        raise CheckpointError(f"{config.model_type} with rope_parameters={rope} is not supported")
    return ModelSettings(
        family=config.model_type,
        layers=config.num_hidden_layers,
        hidden=config.hidden_size,
        heads=config.num_attention_heads,
        key_value_heads=config.num_key_value_heads,
        head_width=getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads,
        ffn=config.intermediate_size,
        dropout=0.0,
        norm="rms",
        norm_epsilon=config.rms_norm_eps,
        activation="swiglu",
        bias=False,
        qkv_bias=config.model_type == "qwen2",
        qk_norm=config.model_type == "qwen3",
        rope_base=rope["rope_theta"],
        rope_scaling=rope["factor"] if scaled else None,
        language_head="tied" if config.tie_word_embeddings else "own",
    )


def _llama_config(make: Callable[..., PretrainedConfig]) -> Callable[[ModelSettings, int], PretrainedConfig]:
    def config(settings: ModelSettings, vocabulary: int) -> PretrainedConfig:
        rope: dict[str, Any] = {"rope_type": "default", "rope_theta": settings.rope_base}
        if settings.rope_scaling is not None:
            rope |= {"rope_type": "llama3", "factor": settings.rope_scaling, **_LLAMA3_SCALING}
        return make(
            vocab_size=vocabulary,
            hidden_size=settings.hidden,
            num_hidden_layers=settings.layers,
            num_attention_heads=settings.heads,
            num_key_value_heads=settings.groups,
            head_dim=settings.width,
            intermediate_size=settings.ffn,
            rms_norm_eps=settings.norm_epsilon,
            rope_parameters=rope,
        )

    return config


_LLAMA_ONCE = (Renamed("head.norm.weight", "model.norm.weight"),)
_LLAMA_LAYERS: tuple[Correspondence, ...] = (
    Renamed(f"{NORMS[0]}.weight", "model.layers.{layer}.input_layernorm.weight"),
    Split(
        f"{ATTENTION}linear_qkv.weight",
        (
            "model.layers.{layer}.self_attn.q_proj.weight",
            "model.layers.{layer}.self_attn.k_proj.weight",
            "model.layers.{layer}.self_attn.v_proj.weight",
        ),
    ),
    Renamed(f"{ATTENTION}linear_proj.weight", "model.layers.{layer}.self_attn.o_proj.weight"),
    Renamed(f"{NORMS[1]}.weight", "model.layers.{layer}.post_attention_layernorm.weight"),
    Stacked(
        f"{MLP}linear_fc1.weight",
        ("model.layers.{layer}.mlp.gate_proj.weight", "model.layers.{layer}.mlp.up_proj.weight"),
    ),
    Renamed(f"{MLP}linear_fc2.weight", "model.layers.{layer}.mlp.down_proj.weight"),
)
_QWEN2_BIASES = Split(
    f"{ATTENTION}linear_qkv.bias",
    (
        "model.layers.{layer}.self_attn.q_proj.bias",
        "model.layers.{layer}.self_attn.k_proj.bias",
        "model.layers.{layer}.self_attn.v_proj.bias",
    ),
)
_QWEN3_NORMS = (
    Renamed(f"{ATTENTION}q_layernorm.weight", "model.layers.{layer}.self_attn.q_norm.weight"),
    Renamed(f"{ATTENTION}k_layernorm.weight", "model.layers.{layer}.self_attn.k_norm.weight"),
)


def _like_llama(model: type[PreTrainedModel], config: type[PretrainedConfig], *more: Correspondence) -> Counterpart:
    words = "model.embed_tokens.weight"
    return Counterpart(model, _llama_settings, _llama_config(config), words, _LLAMA_ONCE, (*_LLAMA_LAYERS, *more))


COUNTERPARTS: dict[Family, Counterpart] = {
    "gpt_neox": _GPT_NEOX,
    "gpt2": _GPT2,
    "llama": _like_llama(LlamaForCausalLM, LlamaConfig),
    "qwen2": _like_llama(Qwen2ForCausalLM, Qwen2Config, _QWEN2_BIASES),
    "t5": T5,
    "qwen3": _like_llama(Qwen3ForCausalLM, Qwen3Config, *_QWEN3_NORMS),
}
