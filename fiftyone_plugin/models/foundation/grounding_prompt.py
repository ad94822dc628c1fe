"""Class names as the text prompt of a grounding detector, and what its scores per token say about classes.

A grounding detector scores every box against every token of a text. Which class a token stands for is derived from
where the tokenizer found it in the text, so that a word that two names share ("traffic light", "traffic sign") counts
for the name it was written in, and any number of word pieces count for their name.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ...errors import LabelQualityError

ClassPrompts = Sequence[str] | Mapping[str, Sequence[str]]

_SEPARATOR = ". "
_SPLITTING = re.compile(r"[.?_\s]+")  # the detector reads . and ? as the end of a phrase


@dataclass(frozen=True)
class Phrase:
    """A wording of a class.

    Attributes:
        text: lower case, words separated by single spaces
        class_index: of the class that it means
    """

    text: str
    class_index: int


@dataclass(frozen=True)
class Prompt:
    """Text for the detector.

    Attributes:
        text: phrases, each followed by a full stop
        spans: (start, end) of each phrase in the text, end excluded
        class_indices: class of each phrase
    """

    text: str
    spans: tuple[tuple[int, int], ...]
    class_indices: tuple[int, ...]


@dataclass(frozen=True)
class BoxClasses:
    """Which of a detector's boxes are kept, and as what.

    Attributes:
        queries: (n,) indices of the kept boxes, ascending
        class_index: (n,) their classes
        score: (n,) float32, of the token that decided
    """

    queries: npt.NDArray[np.intp]
    class_index: npt.NDArray[np.intp]
    score: npt.NDArray[np.float32]


def class_phrases(class_prompts: ClassPrompts) -> list[Phrase]:
    """Return every wording of every class, checked for being told apart.

    Args:
        class_prompts: names, or {name: wordings}; a class without wordings is worded as its name. Upper and lower
            case are the same; underscores, full stops and question marks are read as spaces

    Returns:
        the phrases, in the order of the classes

    Raises:
        LabelQualityError: no classes, a wording without words, or one that stands for two classes

    Example:
        >>> [phrase.text for phrase in class_phrases({"tv_monitor": [], "Sofa": ["couch", "sofa"]})]
        ['tv monitor', 'couch', 'sofa']
    """
    if isinstance(class_prompts, str):
        raise LabelQualityError(
            f"Expected a list of class names, but got the text {class_prompts!r}; pass [name, ...]."
        )
    wordings = class_prompts if isinstance(class_prompts, Mapping) else None
    names = list(class_prompts)
    if not names:
        raise LabelQualityError("Expected at least one class name to look for, but the list is empty.")
    _require_distinct(names)
    owner: dict[str, int] = {}
    for index, name in enumerate(names):
        given = [name] if wordings is None else _wordings(name, wordings[name])
        for wording in given:
            text = _plain(wording)
            if not text:
                raise LabelQualityError(f"Class {name!r} has a wording without words: {wording!r}; leave it out.")
            if owner.setdefault(text, index) != index:
                raise LabelQualityError(
                    f"The wording {text!r} stands for the classes {names[owner[text]]!r} and {name!r}, so that their "
                    "boxes could not be told apart; word one of them otherwise."
                )
    return [Phrase(text, index) for text, index in owner.items()]


def plan_prompts(phrases: Sequence[Phrase], count_tokens: Callable[[str], int], limit: int) -> list[Prompt]:
    """Join phrases to texts, as few as the detector's limit of tokens allows.

    Args:
        phrases: of all classes
        count_tokens: tokens of a text, the tokenizer's special tokens included
        limit: most tokens of a text

    Returns:
        the prompts; every phrase is in one of them

    Raises:
        LabelQualityError: a phrase alone is over the limit

    Example:
        >>> prompts = plan_prompts([Phrase("cat", 0), Phrase("traffic light", 1)], lambda text: len(text.split()), 3)
        >>> prompts[0].text, prompts[0].spans, len(prompts)
        ('cat. traffic light.', ((0, 3), (5, 18)), 1)
    """
    prompts: list[Prompt] = []
    waiting: list[Phrase] = []
    for phrase in phrases:
        if count_tokens(_joined([phrase])) > limit:
            raise LabelQualityError(
                f"The wording {phrase.text!r} has {count_tokens(_joined([phrase]))} tokens, but the detector takes "
                f"{limit}; shorten it."
            )
        if waiting and count_tokens(_joined([*waiting, phrase])) > limit:
            prompts.append(_prompt(waiting))
            waiting = []
        waiting.append(phrase)
    return [*prompts, _prompt(waiting)] if waiting else prompts


def token_classes(
    prompt: Prompt, offsets: Sequence[tuple[int, int]] | npt.NDArray[np.integer[Any]]
) -> npt.NDArray[np.intp]:
    """Return the class that each token of a prompt stands for.

    Args:
        prompt: the text and where its phrases are
        offsets: (T, 2) start and end of each token in the text, as a tokenizer tells them; special tokens are empty

    Returns:
        (T,) class indices; -1 = separators and special tokens, which stand for none

    Example:
        >>> prompt = Prompt("cat. dog.", ((0, 3), (5, 8)), (7, 9))
        >>> token_classes(prompt, [(0, 0), (0, 2), (2, 3), (3, 4), (5, 8), (8, 9), (0, 0)])
        array([-1,  7,  7, -1,  9, -1, -1])
    """
    class_at = np.full(len(prompt.text) + 1, -1, np.intp)
    for (start, end), class_index in zip(prompt.spans, prompt.class_indices, strict=True):
        class_at[start:end] = class_index
    return np.array([class_at[start] if end > start else -1 for start, end in offsets], dtype=np.intp)


def box_classes(
    logits: npt.NDArray[np.floating[Any]], classes: npt.NDArray[np.intp], box_threshold: float
) -> BoxClasses:
    """Give each box the class of its single most likely token, and keep the boxes that are likely enough.

    Tokens that stand for no class are not looked at; there is no threshold per token.

    Args:
        logits: (Q, T or more) scores of Q boxes for each token; more columns than tokens are padding
        classes: (T,) class of each token, -1 = none
        box_threshold: least probability, itself excluded, of the best token

    Returns:
        the kept boxes; of equally likely tokens the first decides

    Example:
        >>> logits = np.array([[9.0, 0.0, 1.0], [9.0, -4.0, -4.0]])
        >>> box_classes(logits, np.array([-1, 4, 5]), 0.2).class_index
        array([5])

    References:
        Single most likely token per box: Kim et al., Active Label Correction for Semantic Segmentation with
        Foundation Models, ICML 2024 (released code).
    """
    meaning = np.flatnonzero(classes >= 0)
    considered = np.asarray(logits, np.float32)[:, meaning]
    best = considered.argmax(axis=1)
    score = _sigmoid(considered[np.arange(len(best)), best])
    queries = np.flatnonzero(score > box_threshold)
    return BoxClasses(queries, classes[meaning[best[queries]]], score[queries])


def _sigmoid(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    return np.exp(-np.logaddexp(np.float32(0), -logits))  # 0 for minus infinity, without a warning


def _wordings(name: str, wordings: Sequence[str] | None) -> list[str]:
    if isinstance(wordings, str):
        raise LabelQualityError(
            f"Expected a list of wordings of class {name!r}, but got the text {wordings!r}; pass [{wordings!r}]."
        )
    return list(wordings or [name])


def _require_distinct(names: Sequence[str]) -> None:
    first: dict[str, str] = {}
    for name in names:
        if _plain(name) in first:
            other = first[_plain(name)]
            raise LabelQualityError(f"The classes {other!r} and {name!r} have the same name; leave one of them out.")
        first[_plain(name)] = name


def _plain(wording: str) -> str:
    return _SPLITTING.sub(" ", str(wording).lower()).strip()


def _joined(phrases: Sequence[Phrase]) -> str:
    return _SEPARATOR.join(phrase.text for phrase in phrases) + _SEPARATOR.strip()


def _prompt(phrases: Sequence[Phrase]) -> Prompt:
    spans, start = [], 0
    for phrase in phrases:
        spans.append((start, start + len(phrase.text)))
        start += len(phrase.text) + len(_SEPARATOR)
    return Prompt(_joined(phrases), tuple(spans), tuple(phrase.class_index for phrase in phrases))
