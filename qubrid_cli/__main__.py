"""The program's entry: answers ``--version`` before anything is imported, and hands the rest to ``cli``."""

# MERGED DOCSTRING of qubrid_cli.headstart: Whether there can be a head start: the one photo that a plain command line names, known before it is understood. Typer, the settings and httpx take 80 ms to load, in which another core would have nothing to do, and decoding a photo of 12 megapixels takes 50. So what ``describe`` is plainly going to be asked about is begun with first: the request is complete after 143 ms in place of 186 (medians of 21 pairs). It is a guess which decides nothing: see ``ahead``.

import gc
import os
import sys
from collections.abc import Sequence

from . import __version__

#: Options of ``describe`` that change nothing about how its image is decoded, and whether a value follows. With any other
#: there is no head start, nor with two images or two prompts: a mistyped command line is to load no Pillow.
_NEUTRAL_OPTIONS = {
    **dict.fromkeys(("-p", "--prompt", "-P", "--preset", "-s", "--system", "--schema", "-m", "--model"), True),
    **dict.fromkeys(("--profile", "--base-url", "--max-tokens", "--temperature", "--top-p", "-O", "--param"), True),
    **dict.fromkeys(("--timeout", "--retries", "--retry-max-wait", "--max-time", "--quality"), True),
    **dict.fromkeys(("-o", "--output", "--field", "--color"), True),
    **dict.fromkeys(("--allow-http", "--no-stream", "--offline", "--dry-run", "--json", "--thinking"), False),
    **dict.fromkeys(("--stats", "--no-stats", "-q", "--quiet", "-v", "--verbose"), False),
}


def guess_image(arguments: Sequence[str]) -> str | None:
    """The file that ``describe`` is going to be asked about; ``None`` where that is not plain."""
    words = iter(arguments)
    if next(words, None) != "describe":
        return None
    images: list[str] = []
    prompts = 0
    for word in words:
        if word.startswith("-"):
            option, has_value, _ = word.partition("=")
            if option not in _NEUTRAL_OPTIONS or (has_value and not _NEUTRAL_OPTIONS[option]):
                return None
            if _NEUTRAL_OPTIONS[option] and not has_value and next(words, None) is None:
                return None
            prompts += option in {"-p", "--prompt"}
        elif os.path.isfile(word):
            images.append(word)
        else:
            prompts += 1
    return images[0] if len(images) == 1 and prompts <= 1 else None


def main() -> int:
    """Run ``qvision`` with the arguments of this process and return its exit code."""
    try:
        return _show_version() if sys.argv[1:] == ["--version"] else _run()
    finally:
        gc.freeze()  # at its end Python looks through all that was loaded for garbage: 13 ms of a describe, 1 of --version


def _run() -> int:
    # While modules are loaded nothing is garbage, but with the default threshold of 700 Python looks for it some 70 times,
    # which takes 5 ms of a describe.
    gc.set_threshold(50_000)
    # httpx loads its own command line, click and Rich with it, wherever click is installed: 60 ms. Nothing here needs it.
    sys.modules["click"] = None  # type: ignore[assignment]  # whoever imports it is told that it is not there
    try:
        if (image := guess_image(sys.argv[1:])) is not None:
            from .images import prefetch

            prefetch.start(image)
        from .cli import main as run

        return run()
    except KeyboardInterrupt:  # while modules are still loading; later Typer sees to it
        return 130


def _show_version() -> int:
    """Before typer is imported, which costs five times an empty Python."""
    try:
        print(f"qvision {__version__}", flush=True)
    except OSError:  # nobody listens any more; Python would try once more at its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
