"""Make the tiny chat model that paced servers serve: ``python -m tests.paced.model FOLDER``.

Runs inside vLLM's environment, offline. A configuration and a tokenizer only: served with
``--load-format dummy``, the weights are random. The tokenizer is a byte-level BPE, trained on the
standard library's sources, the same for the same Python: token counts agree
between servers. What was made from this very file is not made again.
"""

import argparse
import hashlib
import json
import shutil
import sysconfig
from pathlib import Path

VOCABULARY = 8192
SOURCES = 200
"""Files of the standard library, in order of name, that the tokenizer learns from."""
LONGEST = 32768
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PAD, END = 0, 2
"""Places in `SPECIAL`, which are token ids."""
DTYPE = "float32"
"""On processors without AVX-512 half precision is emulated: twice the time of this."""
LAYERS, HEADS, HEAD_SIZE = 1, 1, 32
"""The least that vLLM's CPU attention takes: its own work has to fit into a paced step."""
KV_BYTES = 2 * LAYERS * HEADS * HEAD_SIZE * 4
"""Bytes of KV cache a token: keys and values of `DTYPE`."""
TEMPLATE = (
    "{%- if tools %}<|im_start|>system\n# Tools\n"
    "{% for tool in tools %}{{ tool | tojson }}\n{% endfor %}<|im_end|>\n{% endif -%}"
    "{%- for message in messages %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% elif message['content'] %}{% for part in message['content'] %}"
    "{{ part['text'] if part['type'] == 'text' else '' }}{% endfor %}{% endif %}"
    "{% if message.tool_calls %}{% for call in message.tool_calls %}"
    "<tool_call>{{ call.function.name }} {{ call.function.arguments | tojson }}</tool_call>"
    "{% endfor %}{% endif %}<|im_end|>\n{% endfor -%}"
    "{%- if add_generation_prompt %}<|im_start|>assistant\n{% endif -%}"
)
"""ChatML, with tools and their calls."""
MADE_BY = "made-by"


def is_made(folder: Path) -> bool:
    """Whether `folder` holds what this file makes."""
    marker = folder / MADE_BY
    return marker.is_file() and marker.read_text() == _digest()


def make(folder: Path) -> bool:
    """Make the model in `folder`, which is emptied, unless it is there; True if it was made."""
    if is_made(folder):
        return False
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    _tokenizer(folder)
    _write(folder / "config.json", _configuration())
    _write(folder / "generation_config.json", {"eos_token_id": END, "pad_token_id": PAD})
    (folder / MADE_BY).write_text(_digest())
    return True


def _digest() -> str:
    return hashlib.sha256(Path(__file__).read_bytes()).hexdigest()


def _write(path: Path, content: dict[str, object]) -> None:
    path.write_text(json.dumps(content, indent=1))


def _tokenizer(folder: Path) -> None:
    from tokenizers import (
        Tokenizer,
        decoders,
        models,
        pre_tokenizers,
        processors,
        trainers,
    )

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=list(SPECIAL),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    sources = sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py"))[:SOURCES]
    tokenizer.train([str(source) for source in sources], trainer)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": LONGEST,
        "bos_token": None,
        "eos_token": SPECIAL[END],
        "pad_token": SPECIAL[PAD],
        "clean_up_tokenization_spaces": False,
        "chat_template": TEMPLATE,
    }
    _write(folder / "tokenizer_config.json", settings)


def _configuration() -> dict[str, object]:
    """A Llama of 0.3 million parameters, nearly all of them the vocabulary."""
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": HEADS * HEAD_SIZE,
        "head_dim": HEAD_SIZE,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "intermediate_size": 64,
        "vocab_size": VOCABULARY,
        "max_position_embeddings": LONGEST,
        "rms_norm_eps": 1e-6,
        "rope_theta": 10000.0,
        "hidden_act": "silu",
        "tie_word_embeddings": True,
        "torch_dtype": DTYPE,
        "attention_bias": False,
        "mlp_bias": False,
        "bos_token_id": None,
        "eos_token_id": END,
        "pad_token_id": PAD,
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Make the tiny model that paced servers serve.")
    parser.add_argument("folder", type=Path)
    where = parser.parse_args().folder
    print(f"the tiny model in {where}: {'made' if make(where) else 'is there'}")
