"""Well-known providers, recognized by the host of an address: their account pages, and how they control thinking.

A page is named only to users of that very host, because accounts of other hosts are not there. Pure.
"""

import functools
from collections.abc import Mapping
from urllib.parse import urlsplit

from .frozen import frozen


@frozen
class Provider:
    """What is known about a provider; ``None`` for the rest.

    Attributes:
        keys_page: where a user creates and sees keys.
        credits_page: where a user sees and adds credits.
        log_page: where a user sees requests and why they were refused.
        thinking: the field of the request that controls thinking, one of those in ``client.thinking``.
    """

    name: str
    keys_page: str | None = None
    credits_page: str | None = None
    log_page: str | None = None
    thinking: str | None = None


#: By host or, with a leading dot, by the end of the host.
_PROVIDERS: Mapping[str, Provider] = {
    # Which of the fields for thinking it accepts is not published: see client.thinking.
    "platform.qubrid.com": Provider(
        "Qubrid",
        keys_page="https://platform.qubrid.com/api-keys",
        credits_page="https://platform.qubrid.com",
        log_page="https://platform.qubrid.com/inferencing-logs",
    ),
    "api.openai.com": Provider(
        "OpenAI",
        keys_page="https://platform.openai.com/api-keys",
        credits_page="https://platform.openai.com/settings/organization/billing",
        log_page="https://platform.openai.com/logs",
        thinking="reasoning_effort",
    ),
    "openrouter.ai": Provider(
        "OpenRouter",
        keys_page="https://openrouter.ai/settings/keys",
        credits_page="https://openrouter.ai/settings/credits",
        log_page="https://openrouter.ai/activity",
        thinking="reasoning",
    ),
    "api.groq.com": Provider(
        "Groq",
        keys_page="https://console.groq.com/keys",
        credits_page="https://console.groq.com/settings/billing",
        thinking="reasoning_effort",
    ),
    "generativelanguage.googleapis.com": Provider(
        "Google", keys_page="https://aistudio.google.com/apikey", thinking="reasoning_effort"
    ),
    "api.anthropic.com": Provider(
        "Anthropic",
        keys_page="https://platform.claude.com/settings/keys",
        credits_page="https://platform.claude.com/settings/billing",
        thinking="thinking",
    ),
    "api.mistral.ai": Provider("Mistral", keys_page="https://console.mistral.ai/api-keys", thinking="reasoning_effort"),
    "api.x.ai": Provider(
        "xAI", keys_page="https://console.x.ai", credits_page="https://console.x.ai", thinking="reasoning_effort"
    ),
    "api.deepinfra.com": Provider(
        "DeepInfra",
        keys_page="https://deepinfra.com/dash/api_keys",
        credits_page="https://deepinfra.com/dash/billing",
        thinking="reasoning_effort",
    ),
    "api.deepseek.com": Provider("DeepSeek", keys_page="https://platform.deepseek.com/api_keys", thinking="thinking"),
    "api.moonshot.ai": Provider(
        "Moonshot", keys_page="https://platform.moonshot.ai/console/api-keys", thinking="thinking"
    ),
    "api.z.ai": Provider("Z.ai", keys_page="https://z.ai/manage-apikey/apikey-list", thinking="thinking"),
    "api.together.xyz": Provider("Together", keys_page="https://api.together.ai/settings/api-keys"),
    "api.fireworks.ai": Provider(
        "Fireworks", keys_page="https://app.fireworks.ai/settings/users/api-keys", thinking="reasoning_effort"
    ),
    "router.huggingface.co": Provider(
        "Hugging Face",
        keys_page="https://huggingface.co/settings/tokens",
        credits_page="https://huggingface.co/settings/billing",
    ),
    "integrate.api.nvidia.com": Provider(
        "NVIDIA", keys_page="https://build.nvidia.com/settings/api-keys", thinking="chat_template_kwargs"
    ),
    ".siliconflow.com": Provider("SiliconFlow", thinking="enable_thinking"),
    ".siliconflow.cn": Provider("SiliconFlow", thinking="enable_thinking"),
    ".aliyuncs.com": Provider("Alibaba Model Studio", thinking="enable_thinking"),
    ".openai.azure.com": Provider("Azure", keys_page="https://ai.azure.com", thinking="reasoning_effort"),
    ".services.ai.azure.com": Provider("Azure", keys_page="https://ai.azure.com", thinking="reasoning_effort"),
}


@functools.cache
def find_provider(url: str) -> Provider | None:
    """The provider whose host an address has; ``None`` for any other host, such as a proxy or this machine."""
    host = (urlsplit(url).hostname or "").removesuffix(".")
    if provider := _PROVIDERS.get(host):
        return provider
    return next((provider for end, provider in _PROVIDERS.items() if end[0] == "." and host.endswith(end)), None)
