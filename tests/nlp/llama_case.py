"""A tiny Llama of the `transformers` library, and as a GGUF file."""

from pathlib import Path
from typing import Any

import gguf
import numpy as np

VOCABULARY = 61
END, START = "<|im_end|>", "<|im_start|>"
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def reference(**config: Any) -> Any:
    """Makes a random LlamaForCausalLM; all weights are drawn."""
    import torch
    import transformers

    settings = {
        "vocab_size": VOCABULARY,
        "hidden_size": 32,
        "intermediate_size": 20,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "max_position_embeddings": 128,
        "rms_norm_eps": 1e-3,
        "rope_parameters": {"rope_type": "default", "rope_theta": 50.0},
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": None,
        **config,
    }
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig(**settings))
    rng = np.random.default_rng(1)
    with torch.no_grad():
        for parameter in model.parameters():
            draws = rng.normal(0, 0.2, tuple(parameter.shape))
            parameter.copy_(torch.tensor(draws))
    return model.eval()


def write(path: Path, model: Any, **changes: Any) -> Path:
    """Writes a model with the `gguf` package.

    Args:
        path: the file.
        model: the reference.
        **changes: metadata, dots as two underscores; `None` leaves out.
    """
    config = model.config
    tokens = [START, *(chr(33 + i) for i in range(VOCABULARY - 3)), "Ġ", END]
    metadata = {
        "llama.block_count": config.num_hidden_layers,
        "llama.context_length": config.max_position_embeddings,
        "llama.embedding_length": config.hidden_size,
        "llama.feed_forward_length": config.intermediate_size,
        "llama.attention.head_count": config.num_attention_heads,
        "llama.attention.head_count_kv": config.num_key_value_heads,
        "llama.rope.freq_base": config.rope_parameters["rope_theta"],
        "llama.attention.layer_norm_rms_epsilon": config.rms_norm_eps,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "smollm",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": [3, *[1] * (VOCABULARY - 2), 3],
        "tokenizer.ggml.merges": ["A B"],
        "tokenizer.ggml.eos_token_id": VOCABULARY - 1,
        "tokenizer.chat_template": TEMPLATE,
    }
    metadata["tokenizer.ggml.tokens"][40] = "AB"
    metadata |= {k.replace("__", "."): v for k, v in changes.items()}
    writer = gguf.GGUFWriter(
        path, metadata.pop("general.architecture", "llama")
    )
    adders = {
        int: writer.add_uint32,
        float: writer.add_float32,
        str: writer.add_string,
        list: writer.add_array,
    }
    for key, value in metadata.items():
        if value is not None:
            adders[type(value)](key, value)
    for name, array in tensors(model).items():
        writer.add_tensor(name, array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def tensors(model: Any) -> dict[str, np.ndarray]:
    """Names and orders the weights as llama.cpp does."""
    config = model.config
    names = gguf.get_tensor_name_map(
        gguf.MODEL_ARCH.LLAMA, config.num_hidden_layers
    )
    heads = {
        "q_proj.weight": config.num_attention_heads,
        "k_proj.weight": config.num_key_value_heads,
    }
    result = {}
    for name, parameter in model.named_parameters():
        array = parameter.detach().numpy()
        if count := heads.get(".".join(name.split(".")[-2:])):
            # From halves to neighbours.
            halves = array.reshape(count, 2, -1, array.shape[1])
            array = halves.swapaxes(1, 2).reshape(array.shape)
        result[names.get_name(name, (".weight",))] = array
    return result
