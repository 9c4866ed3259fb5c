"""The trained model as a q8_0 GGUF that llama.cpp and Ollama load."""

from __future__ import annotations

from pathlib import Path

import gguf

from tools.pocket.model import EPSILON, Model
from tools.pocket.tokenizer import BEGIN, END, PAD, UNKNOWN, Tokenizer
from tools.pocket.tool_calls import CHAT_TEMPLATE

_Q8_0_FILE = 7
"""`general.file_type` of a file that is mostly q8_0."""


def write(model: Model, tokenizer: Tokenizer, path: Path) -> None:
    shape = model.shape
    out = gguf.GGUFWriter(str(path), "llama")
    out.add_name("tiny-chat")
    out.add_description("Tiny chat model trained locally on synthetic text")
    out.add_license("apache-2.0")
    out.add_context_length(shape.context)
    out.add_embedding_length(shape.width)
    out.add_block_count(shape.layers)
    out.add_feed_forward_length(shape.inner)
    out.add_head_count(shape.heads)
    out.add_head_count_kv(shape.heads)
    out.add_layer_norm_rms_eps(EPSILON)
    out.add_rope_dimension_count(shape.head_width)
    out.add_rope_freq_base(shape.rope_base)
    out.add_vocab_size(len(tokenizer.tokens))
    out.add_file_type(_Q8_0_FILE)
    out.add_quantization_version(gguf.GGML_QUANT_VERSION)
    _vocabulary(out, tokenizer)
    q8_0 = gguf.GGMLQuantizationType.Q8_0
    for name, weight in model.weights.items():
        values = weight.detach().float().numpy()
        if values.ndim == 2:
            out.add_tensor(name, gguf.quants.quantize(values, q8_0), raw_dtype=q8_0)
        else:
            out.add_tensor(name, values)
    out.write_header_to_file()
    out.write_kv_data_to_file()
    out.write_tensors_to_file()
    out.close()


def _vocabulary(out: gguf.GGUFWriter, tokenizer: Tokenizer) -> None:
    kind = gguf.TokenType
    pieces = len(tokenizer.pieces)
    out.add_tokenizer_model("llama")
    out.add_tokenizer_pre("default")
    out.add_token_list(tokenizer.tokens)
    out.add_token_scores([0.0] * (len(tokenizer.tokens) - pieces) + [-float(i) for i in range(pieces)])
    out.add_token_types([kind.UNKNOWN] + [kind.CONTROL] * 4 + [kind.BYTE] * 256 + [kind.NORMAL] * pieces)
    out.add_bos_token_id(BEGIN)
    out.add_eos_token_id(END)
    out.add_unk_token_id(UNKNOWN)
    out.add_pad_token_id(PAD)
    out.add_add_bos_token(False)
    out.add_add_eos_token(False)
    out.add_add_space_prefix(False)
    out.add_chat_template(CHAT_TEMPLATE)
