"""The language models of Megatron-core under the demand head, and how each of them reads a batch.

Shapes: T tokens of all prompts in a row, S prompts, L tokens of the longest prompt, R queries, D hidden width.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
from megatron.core import parallel_state
from megatron.core.models.gpt.gpt_layer_specs import get_gpt_layer_local_spec
from megatron.core.models.gpt.gpt_model import GPTModel
from megatron.core.models.T5.t5_model import T5Model
from megatron.core.models.T5.t5_spec import decoder_model_with_local_spec, encoder_model_with_local_spec
from megatron.core.tensor_parallel import (
    ColumnParallelLinear,
    RowParallelLinear,
    gather_from_sequence_parallel_region,
)
from megatron.core.transformer.spec_utils import ModuleSpec
from megatron.core.transformer.transformer_config import TransformerConfig
from torch import Tensor
from torch.nn.functional import gelu, relu, silu

from modeling.batch import Batch
from modeling.layout import LayoutSettings
from modeling.megatron.attention import MaskedAttention, PackedAttention, Packing, has_flash_attention
from modeling.megatron.context import Split
from modeling.megatron.layer import AskedLayer
from modeling.megatron.linear import Column, Row
from modeling.megatron.lora import LoraColumn, LoraRow
from modeling.megatron.norm import Norm
from modeling.megatron.rotary import Rotation
from modeling.settings import LoraSettings, ModelSettings

EMBEDDING_STD = 0.1
"""Spread of a new token's embedding. Each layer norm divides gradients by the spread of what it reads: at Megatron's
0.02 the norms multiply up, and a run's gradient can grow a thousandfold within ten steps."""
ACTIVATIONS = {
    "gelu": gelu,
    "gelu_tanh": partial(gelu, approximate="tanh"),
    "relu": relu,
    "swiglu": silu,
    "geglu_tanh": partial(gelu, approximate="tanh"),
}
POSITIONS = {"rotary": "rope", "learned": "learned_absolute", "relative": "relative"}


def transformer_config(
    settings: ModelSettings, layout: LayoutSettings | None = None, lora: LoraSettings | None = None
) -> TransformerConfig:
    """Megatron-core's own configuration of a model in a layout; its layers find `lora` there, too."""
    layout = layout or LayoutSettings()
    dtype = torch.float32 if layout.precision == "fp32" else torch.bfloat16
    config = TransformerConfig(
        num_layers=settings.layers,
        hidden_size=settings.hidden,
        num_attention_heads=settings.heads,
        num_query_groups=settings.groups,
        kv_channels=settings.width,
        ffn_hidden_size=settings.ffn,
        hidden_dropout=settings.dropout,
        attention_dropout=0.0,
        normalization={"layer": "LayerNorm", "rms": "RMSNorm"}[settings.norm],
        layernorm_epsilon=settings.norm_epsilon,
        activation_func=ACTIVATIONS[settings.activation],
        gated_linear_unit=settings.gated,
        add_bias_linear=settings.bias,
        add_qkv_bias=settings.qkv_bias,
        qk_layernorm=settings.qk_norm,
        softmax_scale=1.0 if settings.architecture == "t5" else None,  # T5 does not divide its scores
        embedding_init_method_std=EMBEDDING_STD,
        use_cpu_initialization=not torch.cuda.is_available(),
        gradient_accumulation_fusion=False,
        bias_dropout_fusion=False,
        calculate_per_token_loss=True,  # the "token" of our loss is a target item
        tensor_model_parallel_size=layout.tensor,
        pipeline_model_parallel_size=layout.pipeline,
        context_parallel_size=layout.context,
        sequence_parallel=layout.sequence_parallel,
        variable_seq_lengths=True,  # packs differ in length
        moe_token_dispatcher_type="alltoall",  # noqa: S106 (unused, but the default is refused with variable lengths)
        pipeline_dtype=dtype,
        params_dtype=torch.float32,  # FineTuning turns them into bf16 where asked to
        bf16=layout.precision != "fp32",
        fp8="hybrid" if layout.precision == "fp8" else None,
        recompute_granularity="full" if layout.recompute == "full" else None,
        recompute_method="uniform" if layout.recompute == "full" else None,
        recompute_num_layers=1 if layout.recompute == "full" else None,
    )
    config.lora = lora or LoraSettings()
    return config


def build_core(settings: ModelSettings, config: TransformerConfig, rows: int, first: bool) -> GPTModel | T5Model:
    """The language model without its output layer: the demand head answers, at the queries only.

    Args:
        rows: of the embedding.
        first: whether this is the first pipeline stage.
    """
    if settings.architecture == "t5":
        return _build_t5(settings, config, rows)
    spec = get_gpt_layer_local_spec(normalization=config.normalization, qk_layernorm=settings.qk_norm)
    spec.module = AskedLayer
    core = GPTModel(
        config,
        _layer(spec, settings, config, PackedAttention),
        vocab_size=rows,
        max_sequence_length=settings.places or 1,  # only learned positions need it
        pre_process=first,
        post_process=False,
        position_embedding_type=POSITIONS[settings.positions],
        rotary_base=settings.rope_base,
        rope_scaling=settings.rope_scaling is not None,
        rope_scaling_factor=settings.rope_scaling or 1.0,
    )
    core.position_embedding_type = "none"  # from here on: PackedAttention rotates
    return core


def _build_t5(settings: ModelSettings, config: TransformerConfig, rows: int) -> T5Model:
    core = T5Model(
        config,
        config,
        _layer(encoder_model_with_local_spec(), settings, config, MaskedAttention),
        _layer(decoder_model_with_local_spec(), settings, config, MaskedAttention),
        vocab_size=rows,
        max_sequence_length=settings.places or 1,
        post_process=False,
        position_embedding_type=POSITIONS[settings.positions],
    )
    core.encoder.final_layernorm = Norm(config, settings.hidden, settings.norm_epsilon)  # the decoder's is the head's
    return core


def _layer(spec: ModuleSpec, settings: ModelSettings, config: TransformerConfig, attention: type) -> ModuleSpec:
    """Megatron-core's local layer with our attention and norms; with fp8, Transformer Engine's matrices in it."""
    layer = spec.submodules
    layer.input_layernorm = layer.pre_mlp_layernorm = Norm
    parts = [layer.self_attention.submodules, layer.mlp.submodules]
    if isinstance(layer.cross_attention, ModuleSpec):
        layer.pre_cross_attn_layernorm = Norm
        parts.append(layer.cross_attention.submodules)
        parts[-1].core_attention = attention
    parts[0].core_attention = attention
    if settings.qk_norm:
        parts[0].q_layernorm = parts[0].k_layernorm = Norm
    matrices = {ColumnParallelLinear: Column, RowParallelLinear: Row}
    if config.lora.rank:
        matrices = {ColumnParallelLinear: LoraColumn, RowParallelLinear: LoraRow}
    elif config.fp8:
        from megatron.core.extensions.transformer_engine import TEColumnParallelLinear, TERowParallelLinear

        matrices = {ColumnParallelLinear: TEColumnParallelLinear, RowParallelLinear: TERowParallelLinear}
    _exchange(parts, matrices)
    return spec


def _exchange(parts: list[Any], others: Mapping[type, type]) -> None:
    for part in parts:
        for name, module in vars(part).items():
            setattr(part, name, others.get(module, module) if isinstance(module, type) else module)


def compile_layers(core: GPTModel) -> None:
    """Has each layer's small operations become few kernels, in its first passes, which take a minute for it.

    Only with attention over whole packs: torch.compile would make kernels anew for every number of sequences.
    """
    if not has_flash_attention(core.config.kv_channels, torch.bfloat16):
        return
    torch._dynamo.config.recompile_limit = 32  # the last layer and others, one length and any, learning and answering
    for layer in core.decoder.layers:
        layer.compile()


def read_queries(core: GPTModel, batch: Batch, config: TransformerConfig) -> Tensor:
    """The hidden state at each query, (R, D); of a pipeline stage but the last what it hands on, (T, 1, D).

    The last layer works for the queries alone, but where several processes share the tokens, or 8 bits want them in
    sixteens.
    """
    all_tokens = config.sequence_parallel or config.context_parallel_size > 1 or bool(config.fp8)
    hidden = read_packed(core, batch, None if all_tokens else batch.queries_R)
    if not parallel_state.is_pipeline_last_stage():
        return hidden
    return whole(hidden, config, batch)[batch.queries_R] if all_tokens else hidden.squeeze(1)


def read_packed(core: GPTModel, batch: Batch, asked_R: Tensor | None = None) -> Tensor:
    """The hidden state of every token, or of a pipeline stage what it hands on, (T, 1, D).

    Under sequence and context parallelism each process has some of the tokens.

    Args:
        asked_R: positions in ascending order: of the last layer these alone are wanted, (R, 1, D).
    """
    tokens_T, places_T = batch.tokens_T, batch.places_T
    if split := Split.of(len(tokens_T)):
        tokens_T, places_T = tokens_T[split.mine_C], places_T[split.mine_C]
    rotation = None
    if hasattr(core, "rotary_pos_emb"):
        rotation = Rotation.of(places_T, batch.longest, core.rotary_pos_emb, next(core.parameters()).dtype)
    else:  # what comes after the last learned place shares it: after a long profile, say
        places_T = places_T.clamp(max=core.max_sequence_length - 1)
    packing = Packing.of(batch, rotation, split, asked_R)
    hidden_T1D: Tensor = core(tokens_T[None], places_T[None], None, packed_seq_params=packing)
    return hidden_T1D


def read_and_answer(core: T5Model, batch: Batch) -> Tensor:
    """The decoder's hidden state at each query, (R, D).

    The encoder reads each prompt up to its question, which must be its last token and the only one; the decoder is
    given the question.
    """
    lengths_S = batch.starts_S1.diff().long() - 1
    places_L = torch.arange(batch.longest - 1, device=lengths_S.device)
    read_SL = places_L < lengths_S[:, None]
    positions_SL = (batch.starts_S1[:-1].long()[:, None] + places_L).clamp(max=len(batch.tokens_T) - 1)
    hidden_mask_S11L = ~read_SL[:, None, None, :]
    encoded_LSD = core(
        batch.tokens_T[positions_SL], None, hidden_mask_S11L, None, None, output_encoder_hidden_only=True
    )
    questions_S1 = batch.tokens_T[batch.queries_R][:, None]
    answered_1SD: Tensor = core(None, questions_S1, None, None, hidden_mask_S11L, encoder_hidden_states=encoded_LSD)
    return answered_1SD.squeeze(0)


def whole(hidden_T1D: Tensor, config: TransformerConfig, batch: Batch) -> Tensor:
    """(T, D), of all tokens on every process."""
    if config.sequence_parallel:
        hidden_T1D = gather_from_sequence_parallel_region(hidden_T1D, tensor_parallel_output_grad=False)
    if split := Split.of(len(batch.tokens_T)):
        hidden_T1D = split.gather(hidden_T1D)
    return hidden_T1D.squeeze(1)
