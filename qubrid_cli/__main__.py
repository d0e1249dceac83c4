"""The entry point: answers ``--version`` before anything is imported, and leaves everything else to ``cli``.

For a simple ``describe`` it starts decoding the image before the command line is parsed. Typer, the settings and httpx
take 80 ms to load while another core is idle, and decoding a photo of 12 megapixels takes 50 ms. So the request is
complete after 143 ms instead of 186 ms (medians of 21 pairs). A wrong guess has no consequences: see
``images.prefetch``.
"""

import gc
import os
import sys
from collections.abc import Mapping, Sequence

from . import __version__

#: Options of ``describe`` that do not change how its image is decoded, and whether each has a value. With any other option
#: nothing is prefetched, nor with two images or two prompts, so that a mistyped command line does not load Pillow.
_NEUTRAL_OPTIONS = {
    **dict.fromkeys(("-p", "--prompt", "-P", "--preset", "-s", "--system", "--schema", "-m", "--model"), True),
    **dict.fromkeys(("--profile", "--base-url", "--max-tokens", "--temperature", "--top-p", "-O", "--param"), True),
    **dict.fromkeys(("--timeout", "--retries", "--retry-max-wait", "--max-time", "--quality", "--background"), True),
    **dict.fromkeys(("-o", "--output", "--field", "--color", "--think", "--detail", "--image-order"), True),
    **dict.fromkeys(("--password-file", "--page-separator", "--coordinates"), True),
    **dict.fromkeys(("--loop-check", "--no-loop-check"), False),
    **dict.fromkeys(("--allow-http", "--no-stream", "--offline", "--dry-run", "--json", "--thinking"), False),
    **dict.fromkeys(("--stats", "--no-stats", "--plain", "--no-plain", "-q", "--quiet", "-v", "--verbose"), False),
}

#: Neutral options with which there is no early connection: the command may reject their values, or sends nothing.
_CHECKED_LATE = {
    *("--offline", "--dry-run", "-O", "--param", "--schema", "--field", "--color", "-o", "--output"),
    *("-P", "--preset", "-s", "--system", "--think", "--detail", "--image-order"),
}


def parse_plain(arguments: Sequence[str]) -> tuple[str, dict[str, str]] | None:
    """Find the image and the options of a plain ``describe`` command line; the value of a flag is empty.

    ``None`` in case of doubt: two images, two prompts, or an option that is unknown or changes how the image is decoded.
    """
    words = iter(arguments)
    if next(words, None) != "describe":
        return None
    images: list[str] = []
    prompts = 0
    options: dict[str, str] = {}
    for word in words:
        if word.startswith("-"):
            option, has_value, value = word.partition("=")
            if option not in _NEUTRAL_OPTIONS or (has_value and not _NEUTRAL_OPTIONS[option]):
                return None
            if _NEUTRAL_OPTIONS[option] and not has_value and (value := next(words, "")) == "":
                return None
            options[option] = value
            prompts += option in {"-p", "--prompt"}
        elif os.path.isfile(word):
            images.append(word)
        else:
            prompts += 1
    return (images[0], options) if len(images) == 1 and prompts <= 1 else None


def _start_early(image: str, options: Mapping[str, str]) -> None:
    """Begin to decode the image and to connect to the endpoint; the command may still need neither."""
    from .images import prefetch

    prefetch.start(image)
    if options.keys() & _CHECKED_LATE or options.get("-p", options.get("--prompt", "")).startswith(("@", "-")):
        return
    from .client import preconnect
    from .errors import QvisionError
    from .settings.config_file import load_config
    from .settings.fields import FIELDS, format_flag
    from .settings.resolve import resolve

    try:
        choices = {name: options.get(format_flag(name)) or None for name in FIELDS}
        settings = resolve(choices, os.environ, load_config(os.environ))
    except QvisionError:  # reported by the command
        return
    if not settings.offline:
        preconnect.start(settings.base_url)


def main() -> int:
    """Run ``qvision`` with the arguments of this process and return its exit code."""
    try:
        return _show_version() if sys.argv[1:] == ["--version"] else _run()
    finally:
        # A Ctrl-C while a dataclass was being made leaves a mark in Python 3.11 although it was handled: the process would
        # end by the signal instead of with our exit code. Executing any string removes the mark.
        exec("")  # noqa: S102
        gc.freeze()  # or Python would search everything for garbage when it exits: 13 ms of a describe, 1 of --version


def _run() -> int:
    # Loading modules makes no garbage, but with the default threshold of 700 Python searches for it about 70 times, which
    # takes 5 ms of a describe.
    gc.set_threshold(50_000)
    # If click is installed, httpx loads its own command line, and with it click and Rich: 60 ms. Nothing here needs it.
    sys.modules["click"] = None  # type: ignore[assignment]  # makes the import fail, as if it were not installed
    try:
        if (plain := parse_plain(sys.argv[1:])) is not None:
            _start_early(*plain)
        from .cli import main as run

        try:
            return run()
        finally:
            if "qubrid_cli.client.preconnect" in sys.modules:  # an error came before the request
                from .client import preconnect

                preconnect.cancel()
    except KeyboardInterrupt:  # while modules are loading; later Typer handles it
        return 130


def _show_version() -> int:
    """Print the version without importing Typer, which would take five times as long as an empty Python."""
    try:
        print(f"qvision {__version__}", flush=True)
    except OSError:  # the reader is gone; Python would flush once more when it exits
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
