"""How soon hidden known questions find careless reviewers, and how often careful ones are accused.

    python benchmarks/reviewers.py --seed 0
    python benchmarks/reviewers.py --seed 0 --fatigue 0.05 0.1 0.2

Simulated people answer questions that are planned as the product does; a share of them is hidden known ones. Each kind
of person is simulated 200 times. "Always confirms" and "first alternative" never look; "random" presses any class; the
careful ones err with the same chance at any question, towards any other class. Of the known classes, `--mistaken` are
wrong themselves. Careless ones begin anywhere in the plan and are judged after 30 answers of all kinds, careful ones
after each hidden question of 300 answers: one accusation at any time counts.

`--fatigue`: people whose slips rise from none to twice the given share in each of five sittings of 68 answers, judged
with one reliability a person, with one by answer from those near in time, and with the true one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np

from fiftyone_plugin.correction.answers.reliability import judge_answers
from fiftyone_plugin.correction.questions.known_questions import (
    KnownQuestion,
    known_question,
    mixed_in,
    which_are_wrong,
)
from fiftyone_plugin.quality.regions.review_statistics import precision_interval

PLANNED = 500
Person = Callable[[KnownQuestion, int, np.random.Generator], int]


def careful(slips: float, num_classes: int) -> Person:
    """Somebody who says what is there, but for slips.

    Args:
        slips: share of them
        num_classes: K
    """

    def answer(question: KnownQuestion, truth: int, rng: np.random.Generator) -> int:
        return truth if rng.random() >= slips else int((truth + rng.integers(1, num_classes)) % num_classes)

    return answer


def people(num_classes: int) -> dict[str, tuple[Person, bool]]:
    """Kinds of people by name, and whether they are careless.

    Args:
        num_classes: K
    """
    return {
        "always confirms": (lambda question, truth, rng: question.shown, True),
        "first alternative": (lambda question, truth, rng: question.alternatives[0], True),
        "random": (lambda question, truth, rng: int(rng.integers(num_classes)), True),
        "careful, no slips": (careful(0.0, num_classes), False),
        "careful, 5 % slips": (careful(0.05, num_classes), False),
        "careful, 10 % slips": (careful(0.1, num_classes), False),
    }


def accused_after(
    person: Person, share: float, num_classes: int, mistaken: float, most: int, seed: int, *, anywhere: bool
) -> int | None:
    """After how many answers somebody is called careless.

    Args:
        person: who answers
        share: of hidden questions in the plan
        num_classes: K
        mistaken: share of known classes that are not the right ones
        most: answers
        seed: of everything
        anywhere: begin at any place of the plan, not at its start

    Returns:
        the number; None if never
    """
    rng = np.random.default_rng(seed)
    number = round(share * PLANNED)
    places = set(mixed_in(PLANNED - number, number, rng))
    wrong = iter(which_are_wrong(number, num_classes, rng))
    confusion = rng.dirichlet(np.full(num_classes, 0.3), num_classes)
    known = [
        known_question(
            truth, rng.permutation(num_classes).tolist(), confusion, wrong=next(wrong), rng=rng
        ) if place in places else None
        for place, truth in enumerate(rng.integers(0, num_classes, PLANNED).tolist())
    ]  # fmt: skip
    first = int(rng.integers(0, PLANNED - most)) if anywhere else 0
    truths, said = list[int](), list[int]()
    for answers, question in enumerate(known[first : first + most], start=1):
        if question is None:
            continue
        off = int(rng.integers(1, num_classes)) if rng.random() < mistaken else 0
        said.append(person(question, (question.truth + off) % num_classes, rng))
        truths.append(question.truth)
        flat = np.full((len(said), num_classes), 1 / num_classes)
        panel = judge_answers(flat, np.arange(len(said)), np.zeros(len(said)), said, num_people=1, known=truths)
        if panel.people[0].careless:
            return answers
    return None


def fatigue(mean: float, seed: int, num_classes: int = 6, sittings: int = 5, length: int = 68) -> dict[str, float]:
    """Share of superpixels whose likeliest class is wrong after the answers, by how reliability is estimated.

    Args:
        mean: share of slips
        seed: of everything
        num_classes: K
        sittings: number of them
        length: answers of each
    """
    rng = np.random.default_rng([seed, round(1000 * mean)])
    number = sittings * length
    prior = rng.dirichlet(np.full(num_classes, 0.15), number)
    truth = np.array([rng.choice(num_classes, p=row) for row in prior])
    slips = np.tile(2 * mean * (np.arange(length) + 0.5) / length, sittings)
    off = np.where(rng.random(number) < slips, rng.integers(1, num_classes, number), 0)
    said, place = (truth + off) % num_classes, np.arange(number)
    panel = judge_answers(prior, place, np.zeros(number), said, num_people=1)

    def chances(right: np.ndarray) -> np.ndarray:
        logs = np.log(prior + 1e-4)
        logs[place, said] += np.log(right * (num_classes - 1) / (1 - right))
        odds = np.exp(logs - logs.max(1, keepdims=True))
        return np.asarray(odds / odds.sum(1, keepdims=True))

    found = {"nobody judged": said, "one a person": panel.chances.argmax(1)}
    for window in (20, 60):
        near = np.exp(-np.abs(place[:, None] - place) / window)
        right = np.full(number, 0.95)
        for _ in range(50):
            right = (near @ chances(right)[place, said] + 19) / (near.sum(1) + 20)
        found[f"window of {window}"] = chances(right).argmax(1)
    found["the true one"] = chances(1 - np.clip(slips, 1e-3, 0.99)).argmax(1)
    return {name: float((best != truth).mean()) for name, best in found.items()}


def print_fatigue(means: list[float], number: int, seed: int) -> None:
    """Simulate people who tire, and print a table.

    Args:
        means: shares of slips
        number: of people
        seed: of the first
    """
    print("| slips | reliability | superpixels wrong after the answers | deviation of the mean |\n|---|---|---|---|")
    for mean in means:
        rows = [fatigue(mean, seed * 10_000 + one) for one in range(number)]
        for name in rows[0]:
            values = [row[name] for row in rows]
            print(f"| {mean:.0%} | {name} | {np.mean(values):.2%} | {np.std(values) / len(values) ** 0.5:.2%} |")


def main() -> None:
    """Simulate and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--number", type=int, default=200, help="of simulated people of each kind")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.1, 0.2, 0.3], help="of hidden questions")
    parser.add_argument("--classes", type=int, nargs="+", default=[2, 11])
    parser.add_argument("--mistaken", type=float, default=0.02)
    parser.add_argument("--fatigue", type=float, nargs="+", help="shares of slips of people who tire")
    options = parser.parse_args()
    if options.fatigue:
        print_fatigue(options.fatigue, options.number, options.seed)
        return
    print("| classes | hidden | who | called careless | 95 % | after answers (median) |\n|---|---|---|---|---|---|")
    for classes in options.classes:
        for share in options.shares:
            for name, (person, careless) in people(classes).items():
                most = 30 if careless else 300
                found = [
                    accused_after(person, share, classes, options.mistaken, most, options.seed * 10_000 + one,
                                  anywhere=careless) for one in range(options.number)
                ]  # fmt: skip
                at = [one for one in found if one is not None]
                rate = precision_interval(len(at), options.number)
                median = f"{np.median(at):.0f}" if at else "-"
                ends = f"{rate.low:.1%} to {rate.high:.1%}"
                print(f"| {classes} | {share:g} | {name} | {rate.estimate:.1%} | {ends} | {median} |", flush=True)


if __name__ == "__main__":
    main()
