"""A language model's trade without a model: counting tokens, comparing texts, composing answers. Pure functions."""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from random import Random
from typing import Any

CHARACTERS_PER_TOKEN = 4
EMBEDDING_DIMENSIONS = 1536

# Prompt caching as the real API has it: from 1024 tokens on, in steps of 128.
CACHE_FROM_TOKENS = 1024
CACHE_STEP_TOKENS = 128

_UNIMPORTANT = (
    "a about an and any are as at be but by can do does for from get has have how i if in into is it its me my no not "
    "of on or our so that the their them there they this to us was we what when where which who why will with you your"
)
_STOP_WORDS = frozenset(_UNIMPORTANT.split())
_STOCK_SENTENCES = (
    "Start with the step above and check the result before you go on.",
    "In most cases this takes less than a minute and needs no restart.",
    "If it does not help, look at the status page and try again a little later.",
    "Changes apply at once on the web and within a few minutes on your devices.",
    "You can undo this at any time from the same screen.",
    "Please keep the confirmation number, support will ask for it.",
    "Only the owner of the account can do this, other members see the setting but cannot change it.",
    "The app shows the current state under the settings of the device.",
)


def count_tokens(text: str) -> int:
    """About four characters per token; never 0 for a text that is not empty."""
    return math.ceil(len(text) / CHARACTERS_PER_TOKEN)


def stems(text: str) -> list[str]:
    """The words that carry meaning, lower case, without common endings."""
    words = re.findall(r"[^\W_]+", text.lower())
    return [_stem(word) for word in words if word not in _STOP_WORDS]


def embedding(text: str, dimensions: int = EMBEDDING_DIMENSIONS) -> list[float]:
    """A hashed bag of words of length 1: texts that share words are near each other."""
    vector = [0.0] * dimensions
    for word, times in Counter(stems(text)).items():
        digest = int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "big")
        vector[(digest >> 1) % dimensions] += math.sqrt(times) * (1 if digest & 1 else -1)
    length = math.sqrt(sum(value * value for value in vector))
    if length == 0:  # no word, or words that cancel each other out: any fixed direction will do
        return [1.0] + [0.0] * (dimensions - 1)
    return [value / length for value in vector]


def prefix_marks(text: str) -> Iterator[tuple[int, bytes]]:
    """Each cacheable prefix of a prompt, shortest first: its length in tokens and its digest."""
    digest = hashlib.blake2b(digest_size=16)
    start = 0
    for tokens in range(CACHE_FROM_TOKENS, len(text) // CHARACTERS_PER_TOKEN + 1, CACHE_STEP_TOKENS):
        end = tokens * CHARACTERS_PER_TOKEN
        digest.update(text[start:end].encode())
        yield tokens, digest.copy().digest()
        start = end


def compose(context: str, question: str, tokens: int, dice: Random) -> str:
    """An answer of about ``tokens`` tokens: what ``context`` says on the question, then sentences that fit anything."""
    asked = set(stems(question))
    told = [sentence for sentence in _sentences(context) if len(asked.intersection(stems(sentence))) > 1]
    told.sort(key=lambda sentence: -len(asked.intersection(stems(sentence))))
    stock = dice.sample(_STOCK_SENTENCES, len(_STOCK_SENTENCES))
    answer: list[str] = []
    length = 0
    for sentence in _repeat(told[:4] + stock):
        # Whole sentences only: stop where the length is nearest to what is wanted.
        if answer and length + len(sentence) / 2 > tokens * CHARACTERS_PER_TOKEN:
            break
        answer.append(sentence)
        length += len(sentence) + 1
    return " ".join(answer)


def truncate(text: str, tokens: int) -> str:
    """The first ``tokens`` tokens of a text."""
    return text[: tokens * CHARACTERS_PER_TOKEN]


def fill_arguments(schema: Mapping[str, Any], text: str, dice: Random) -> dict[str, Any]:
    """Arguments for a tool call that satisfy the tool's JSON schema and, where it has an enum, suit the text."""
    properties = schema.get("properties")
    if not isinstance(properties, Mapping):
        return {}
    return {name: _argument(of, text, dice) for name, of in properties.items() if isinstance(of, Mapping)}


def _argument(schema: Mapping[str, Any], text: str, dice: Random) -> Any:
    options = schema.get("enum")
    if isinstance(options, Sequence) and options:
        return _best_option(options, text, dice)
    match schema.get("type"):
        case "integer":
            return dice.randint(1, 5)
        case "number":
            return round(dice.random(), 2)
        case "boolean":
            return dice.random() < 0.5
        case "array":
            return []
        case "object":
            return fill_arguments(schema, text, dice)
    return text[:200]


def _best_option(options: Sequence[Any], text: str, dice: Random) -> Any:
    said = set(stems(text))
    scores = [len(said.intersection(stems(str(option)))) for option in options]
    return options[scores.index(max(scores))] if max(scores) else dice.choice(options)


def _sentences(text: str) -> list[str]:
    found = (sentence.strip() for sentence in re.split(r"(?<=[.!?])\s+|\n+", text))
    return [sentence for sentence in found if sentence.endswith((".", "!")) and not sentence.startswith("#")]


def _repeat(sentences: Sequence[str]) -> Iterator[str]:
    while True:
        yield from sentences


def _stem(word: str) -> str:
    for ending in ("ing", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)].rstrip("e")
    return word.rstrip("e") if len(word) > 3 else word
