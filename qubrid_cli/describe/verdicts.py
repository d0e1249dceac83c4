"""Read the answer to a yes-or-no question, from a text, from the probabilities of words, or from votes. Pure."""

import enum
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ..frozen import frozen
from ..metrics import get_number


class Answer(enum.StrEnum):
    """The possible answers to a yes-or-no question."""

    YES = "yes"
    NO = "no"
    UNSURE = "unsure"


class Method(enum.StrEnum):
    """The ways to get the answer, the best first."""

    DECISIONS = "decisions"
    LOGPROBS = "logprobs"
    SCHEMA = "schema"


@frozen
class Verdict:
    """The answer to a yes-or-no question.

    Attributes:
        probability: the probability of yes, from 0 to 1; ``None`` if the endpoint returned none.
        reason: the model's reason; ``None`` if it gave none.
    """

    answer: Answer
    probability: float | None
    reason: str | None
    by: Method

    def to_dict(self) -> dict[str, Any]:
        """The ``data`` of the record."""
        return {"answer": self.answer, "probability": self.probability, "reason": self.reason, "by": self.by}


def read_verdict(data: Any, threshold: float | None = None) -> Verdict | None:
    """Read the verdict in the ``data`` of a record; ``None`` if it holds something else.

    Args:
        threshold: if there is a probability, it decides with this threshold; by default ``DEFAULT_THRESHOLD``.
    """
    match data:
        case {"answer": "yes" | "no" | "unsure" as word, "by": "decisions" | "logprobs" | "schema" as by}:
            probability, reason = get_number(data, "probability"), data.get("reason")
            answer = Answer(word) if probability is None else decide(probability, threshold or DEFAULT_THRESHOLD)
            return Verdict(answer, probability, reason if isinstance(reason, str) else None, Method(by))
    return None


#: The probability from which the answer is yes, unless the user chooses another one.
DEFAULT_THRESHOLD = 0.5
#: The lowest sum of the probabilities of yes and no as the first word; below it, the model is about to say something else.
_MIN_MASS = 0.5
#: A computed number may differ by this much from the same number written as a decimal.
_ROUNDING = 1e-9
#: The least that an answer must have to be understood.
_TOLERANT_SCHEMA = {"type": "object", "required": ["answer"]}
#: The words of the languages that models answer in. ``y``, ``n`` and the like begin a word that has several tokens.
_YES_WORDS = """
    yes y yeah yep yup true correct affirmative ja jawohl jo oui si sí sì sim да так はい ええ 是 是的 有 有的 对 對 对的 正确 真 예
    네 evet tak ano áno igen kyllä joo jah jā taip da po ναι نعم כן हाँ हां ใช่ có đúng ya iya oo ndiyo sea doğru verdadero
"""
_NO_WORDS = """
    no n nope false incorrect negative nein non não nao нет ні いいえ いや 不 不是 否 没有 沒有 没 無 无 错 假 아니요 아니오 아니 hayır
    hayir nie ne nem ei nej nei nee nu όχι لا לא नहीं ไม่ không tidak bukan hindi hapana yanlış falso
"""
_UNSURE_WORDS = (
    "unsure uncertain unknown unclear maybe perhaps possibly undetermined indeterminate vielleicht unsicher 不确定"
)
#: A word and, after punctuation, an explanation: ``Yes, a dog.``
_WORD_AND_REASON = r"\W*([^\W_]+)[\W_]*?[.,:;!\n–—、。，：-]+\s*(.+)"
#: Characters that tokenizers write in place of a space or a line break before a word.
_TOKEN_PREFIXES = ("Ġ", "Ċ")


def read_word(text: str) -> Answer | None:
    """The meaning of a word or a token, regardless of its case and of punctuation around it; ``None`` if it has none."""
    return _WORDS.get(_normalize(text))


def _normalize(text: str) -> str:
    for prefix in _TOKEN_PREFIXES:
        text = text.removeprefix(prefix)
    characters = unicodedata.normalize("NFKC", text).casefold()
    # Punctuation, symbols, separators and control characters
    signs = {character for character in characters if unicodedata.category(character)[0] in "PSZC"}
    return characters.strip("".join(signs))


_WORDS = {
    _normalize(word): answer
    for answer, words in ((Answer.YES, _YES_WORDS), (Answer.NO, _NO_WORDS), (Answer.UNSURE, _UNSURE_WORDS))
    for word in words.split()
}


def read_verdict_text(text: str) -> tuple[Answer, str | None] | None:
    """The answer and the reason in a text: JSON, one word, or a word and its reason; ``None`` if there is no answer in it."""
    from ..schema import json_schema
    from .json_text import Valid, parse_value

    parsed = parse_value(text, json_schema.load_schema(_TOLERANT_SCHEMA, where="schema"))
    if isinstance(parsed, Valid):
        value, reason = parsed.value["answer"], parsed.value.get("reason")
        word = str(value) if isinstance(value, str | bool) else ""
        answer = read_word(word)
        return None if answer is None else (answer, reason if isinstance(reason, str) and reason.strip() else None)
    if (answer := read_word(text)) is not None:
        return answer, None
    match = re.fullmatch(_WORD_AND_REASON, text.strip(), re.DOTALL)
    answer = read_word(match[1]) if match else None
    if match is None or answer is None:
        return None
    contradictions = {read_word(word) for word in match[2].split()} - {None, answer}
    return None if contradictions else (answer, match[2].strip())


def read_probability(positions: Sequence[Mapping[str, float]]) -> float | None:
    """The probability of yes, by the tokens that could be the first word; ``None`` if that is neither yes nor no."""
    for choices in positions:
        if not _normalize(max(choices, key=choices.__getitem__)):  # whitespace or markup before the word
            continue
        mass = dict.fromkeys(Answer, 0.0)
        for token, probability in choices.items():
            if (answer := read_word(token)) is not None:
                mass[answer] += probability
        total = mass[Answer.YES] + mass[Answer.NO]
        return round(mass[Answer.YES] / total, 6) if total >= _MIN_MASS else None
    return None


def decide(probability: float, threshold: float) -> Answer:
    """Decide by the probability of yes.

    With a threshold above 0.5, a probability between ``1 - threshold`` and the threshold is unsure.
    """
    if probability >= threshold - _ROUNDING:
        return Answer.YES
    return Answer.UNSURE if threshold > 0.5 and probability > 1 - threshold + _ROUNDING else Answer.NO


def count_votes(verdicts: Sequence[Verdict], votes: int) -> Verdict | None:
    """The verdict of more than half of the votes, with its first reason; unsure if there is no majority at the end.

    ``None`` while votes that could make a majority are missing.
    """
    answer, count = Counter(verdict.answer for verdict in verdicts).most_common(1)[0]
    if 2 * count > votes:
        return next(verdict for verdict in verdicts if verdict.answer is answer)
    if len(verdicts) < votes:
        return None
    return Verdict(Answer.UNSURE, None, f"no answer has more than half of {votes} votes", Method.SCHEMA)
