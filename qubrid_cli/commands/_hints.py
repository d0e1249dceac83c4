"""The commands in hints about an endpoint. Loaded with the endpoint."""

import os
import shlex

from ..client.endpoint import HintCommands
from ..settings.fields import DEFAULT_PROFILE, OriginKind, Settings


def build_hint_commands(settings: Settings, key: str | None) -> HintCommands:
    """The commands in hints, with the profile and the address in use."""
    options = "" if settings.profile == DEFAULT_PROFILE else f" --profile {settings.profile}"
    if settings.origins["base_url"].kind is OriginKind.OPTION:
        options += f" --base-url {shlex.quote(settings.base_url)}"
    key_hint, variable = None, settings.key_env
    if settings.has_authorization:
        key_hint = f"Change the header Authorization in the headers of profile {settings.profile} in config.toml."
    elif variable and os.environ.get(variable, "").strip():
        key_hint = f"The key is that of {variable}, whatever is stored: set it to another key."
        if key is None:
            key_hint = (
                f"{variable} is sent only to the URL of its profile. To send it here, set the URL with --base-url."
            )
    return HintCommands(
        f"qvision models{options}", f"qvision auth status{options}", f"qvision auth login{options}", key_hint
    )
