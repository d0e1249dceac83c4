"""The profiles that are built in: where an endpoint is, and what is sent to it when nobody says anything else."""

from collections.abc import Mapping
from typing import Any

#: Qubrid's own endpoint.
QUBRID = "https://platform.qubrid.com/v1"
DEFAULT = "qubrid"

#: Only Qubrid's documents parameters; 16384 tokens overflow most local context windows, so the others send what was
#: set. The models are small ones that can see, under the name that each server gives them.
BUILT_IN: Mapping[str, Mapping[str, Any]] = {
    DEFAULT: {
        "base_url": QUBRID,
        "model": "Qwen/Qwen3-VL-Plus",
        "max_tokens": 16_384,
        "temperature": 0.1,
        "top_p": 1.0,
        "key_env": "QUBRID_API_KEY",
    },
    "ollama": {"base_url": "http://localhost:11434/v1", "model": "qwen3-vl:8b"},
    "lmstudio": {"base_url": "http://localhost:1234/v1", "model": "qwen/qwen3-vl-8b"},
    "vllm": {"base_url": "http://localhost:8000/v1", "model": "Qwen/Qwen3-VL-8B-Instruct"},
    "openrouter": {
        "base_url": "https://openrouter.ai/api/v1",
        "model": "qwen/qwen3-vl-8b-instruct",
        "key_env": "OPENROUTER_API_KEY",
    },
    "openai": {"base_url": "https://api.openai.com/v1", "model": "gpt-4o-mini", "key_env": "OPENAI_API_KEY"},
}
