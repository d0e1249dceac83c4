"""Whether there can be a head start: the one photo that a plain command line names, known before it is understood.

Typer, the settings and httpx take 80 ms to load, in which another core would have nothing to do, and decoding a photo of
12 megapixels takes 50. So what ``describe`` is plainly going to be asked about is begun with first: the request is
complete after 143 ms in place of 186 (medians of 21 pairs). It is a guess which decides nothing: see ``ahead``.
"""

import os
from collections.abc import Sequence

#: Options of ``describe`` that change nothing about how its image is decoded, and whether a value follows. With any other
#: there is no head start, nor with two images or two prompts: a mistyped command line is to load no Pillow.
_NEUTRAL = {
    **dict.fromkeys(("-p", "--prompt", "-P", "--preset", "-s", "--system", "--schema", "-m", "--model"), True),
    **dict.fromkeys(("--profile", "--base-url", "--max-tokens", "--temperature", "--top-p", "-O", "--param"), True),
    **dict.fromkeys(("--timeout", "--retries", "--retry-max-wait", "--max-time", "--quality"), True),
    **dict.fromkeys(("-o", "--output", "--field", "--color"), True),
    **dict.fromkeys(("--allow-http", "--no-stream", "--offline", "--dry-run", "--json", "--thinking"), False),
    **dict.fromkeys(("--stats", "--no-stats", "-q", "--quiet", "-v", "--verbose"), False),
}


def image(arguments: Sequence[str]) -> str | None:
    """The file that ``describe`` is going to be asked about; ``None`` where that is not plain."""
    words = iter(arguments)
    if next(words, None) != "describe":
        return None
    images: list[str] = []
    prompts = 0
    for word in words:
        if word.startswith("-"):
            option, has_value, _ = word.partition("=")
            if option not in _NEUTRAL or (has_value and not _NEUTRAL[option]):
                return None
            if _NEUTRAL[option] and not has_value and next(words, None) is None:
                return None
            prompts += option in {"-p", "--prompt"}
        elif os.path.isfile(word):
            images.append(word)
        else:
            prompts += 1
    return images[0] if len(images) == 1 and prompts <= 1 else None
