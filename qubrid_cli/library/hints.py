"""The commands in hints about an endpoint. Loaded with the endpoint."""

from collections.abc import Mapping
from functools import partial

from ..client.endpoint import HintCommands
from ..images.urls import add_query, mask_query
from ..settings.fields import DEFAULT_PROFILE, OriginKind, Settings
from ..text import quote_name


def build_hint_commands(settings: Settings, key: str | None, env: Mapping[str, str]) -> HintCommands:
    """The commands in hints, with the profile and the address in use."""
    options = "" if settings.profile == DEFAULT_PROFILE else f" --profile {settings.profile}"
    if settings.origins["base_url"].kind is OriginKind.OPTION:
        options += f" --base-url {quote_name(mask_query(add_query(settings.base_url, settings.query)))}"
    key_hint, variable = None, settings.key_env
    if settings.has_authorization:
        header = settings.key_header or "Authorization"
        key_hint = f"Change the header {header} in the headers of profile {settings.profile} in config.toml."
    elif variable and env.get(variable, "").strip():
        key_hint = f"The key is that of {variable}, whatever is stored: set it to another key."
        if key is None:
            key_hint = (
                f"{variable} is sent only to the URL of its profile. To send it here, set the URL with --base-url."
            )
    return HintCommands(
        f"qvision models{options}",
        f"qvision auth status{options}",
        f"qvision auth login{options}",
        key_hint,
        partial(_suggest_model, settings),
    )


def _suggest_model(settings: Settings) -> str | None:
    """The known model whose name is most similar to that of the settings.

    Qubrid's own models are known at every address that its profile uses, which may be a proxy for it.
    """
    from ..settings import config_file, model_cache

    if settings.model is None:
        return None
    known = model_cache.load_cached_models(config_file.get_cache_folder(), settings.base_url)
    built_in = model_cache.BUILT_IN_MODELS if settings.profile_base_url is None else ()
    return model_cache.suggest_model(settings.model, [*known, *built_in])
