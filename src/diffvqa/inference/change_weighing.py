"""Changes between two images by their probability, over the most probable answers to either order of the images."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from diffvqa.findings import Change, read_changes, turn_change_round, write_changes


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """An answer that the language model may write, and the logarithm of its probability."""

    text: str
    log_probability: float


def change_probabilities(hypotheses: Sequence[Hypothesis]) -> dict[Change, float] | None:
    """The probability of each change among the answers with one reading, in the order in which they mention it.

    None where no answer can be.
    """
    found: dict[Change, float] = defaultdict(float)
    total = 0.0
    for one in sorted(hypotheses, key=lambda one: -one.log_probability):
        readings = read_changes(one.text)
        if len(readings) != 1:
            continue
        probability = math.exp(one.log_probability)
        total += probability
        for change in sorted(readings[0], key=lambda change: (one.text.lower().find(change.finding), change)):
            found[change] += probability
    return {change: probability / total for change, probability in found.items()} if total else None


def agreed_probabilities(forward: Mapping[Change, float], backward: Mapping[Change, float]) -> dict[Change, float]:
    """The geometric mean of the probability of each change in either order of the images.

    backward: of the images exchanged, as it was written. A change that is impossible in one order is left out.
    """
    turned = {turn_change_round(change): probability for change, probability in backward.items()}
    return {
        change: math.sqrt(probability * turned[change]) for change, probability in forward.items() if change in turned
    }


def state_changes(probabilities: Mapping[Change, float], threshold: float) -> tuple[str, float]:
    """The answer that states each change of that probability or more, and how probable all of it is.

    At most one change of a finding is stated: the most probable. The whole is as probable as all that is stated
    together, and that nothing else has changed, were findings independent of one another.
    """
    of_finding: dict[str, dict[Change, float]] = defaultdict(dict)
    for change, probability in probabilities.items():
        of_finding[change.finding][change] = probability
    stated, whole = [], 1.0
    for changes in of_finding.values():
        best = max(changes, key=lambda change: changes[change])
        if changes[best] >= threshold:
            stated.append(best)
            whole *= changes[best]
        else:
            whole *= max(0.0, 1 - sum(changes.values()))
    return write_changes(stated), whole
