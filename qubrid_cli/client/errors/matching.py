"""Search an error response by its status, its codes and its words. Pure; loaded only when a request fails.

``says`` searches the reason without names, links and long quotations, because a model may be called ``daily-limit-7b`` and
a server may repeat the prompt; ``quotes`` searches the whole reason.
"""

import re
from collections.abc import Callable

from ...frozen import frozen
from .body import ErrorResponse

#: Characters of a reason that are searched.
_MAX_SEARCHED_LENGTH = 4000
#: Parts of a reason that say nothing about the error: links, quoted words, names of models, long quotations.
_NAMES = re.compile(
    r"https?://\S+"
    r"|(?<!\w)(?P<quote>['\"`])[^\s'\"`]{1,200}(?P=quote)(?!\w)"
    r'|"[^"]{60,}"'
    r"|\b(?=[\w.:-]*[\d-])[\w.-]+/[\w.:-]+"
    r"|(?<=\bmodel )[\w.:@-]*[\d-][\w.:@-]*"
)


@frozen
class Searchable:
    """An error response, prepared for the rules.

    Attributes:
        codes: in lower case, without punctuation: ``invalid_api_key`` and ``InvalidApiKey`` are the same.
        prose: the reason in lower case, with names, links and long quotations replaced by ``…``.
        text: the reason in lower case.
    """

    response: ErrorResponse
    codes: frozenset[str]
    prose: str
    text: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status


def prepare(response: ErrorResponse) -> Searchable:
    """Prepare an error response for the rules."""
    text = response.message[:_MAX_SEARCHED_LENGTH].lower()
    words = (text,) if re.fullmatch(r"[\w.-]{1,100}", text) else ()  # a code in place of a sentence
    codes = frozenset(re.sub("[^a-z0-9]", "", code.lower()) for code in (*response.codes, *response.marks, *words))
    return Searchable(response, codes, _NAMES.sub("…", text), text)


Test = Callable[[Searchable], bool]


def says(pattern: str) -> Test:
    """Whether the reason, without names, contains this pattern."""
    return lambda error: re.search(pattern, error.prose) is not None


def quotes(pattern: str) -> Test:
    """Whether the whole reason contains this pattern."""
    return lambda error: re.search(pattern, error.text) is not None


def has_code(*codes: str) -> Test:
    """Whether the error has one of these codes; they are written without punctuation."""
    wanted = frozenset(codes)
    return lambda error: not wanted.isdisjoint(error.codes)


def has_status(*statuses: int) -> Test:
    """Whether the error has one of these statuses."""
    return lambda error: error.status in statuses


def either(*tests: Test) -> Test:
    """Whether one of the tests holds."""
    return lambda error: any(test(error) for test in tests)


def both(*tests: Test) -> Test:
    """Whether all tests hold."""
    return lambda error: all(test(error) for test in tests)


def no(test: Test) -> Test:
    """Whether the test does not hold."""
    return lambda error: not test(error)
