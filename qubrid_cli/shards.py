"""A share of the images for each of several machines, so that they need not talk to each other."""

import hashlib
import os
import re

from .errors import UsageError
from .frozen import frozen


@frozen
class Shard:
    """Share ``number`` of ``count``, from 1 on."""

    number: int
    count: int

    def has(self, path: str) -> bool:
        """Whether an image is in this share: by a hash of its path, so the same on every machine, in every run.

        Args:
            path: relative to the folder that was named, with slashes; or what else was named, as it was.
        """
        digest = hashlib.blake2b(os.fsencode(path), digest_size=8).digest()
        return int.from_bytes(digest) % self.count == self.number - 1


def shard(text: str) -> Shard:
    """A share from ``I/N``.

    Raises:
        UsageError: it is no share.
    """
    found = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise UsageError(f"--shard {text} is no share", hint="The second of four is 2/4.")
    return Shard(int(found[1]), int(found[2]))
