"""Where the outputs' noise comes from: groups of neighbouring operators, the noisy ones halved.

To quantize the operators one by one and measure each takes minutes for a network of hundreds, of
which mostly a few do the harm. A group that does little harm as a whole is therefore not looked
into, and the noisiest is halved first. What is spent follows from what is found: k noisy operators
of n take about ``2 k log2(n / k)`` measurements, and never more than is given.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Group:
    """Operators that follow each other.

    Attributes:
        names: their names, in program order.
        noise: what the outputs' noise is with these quantized.
    """

    names: tuple[str, ...]
    noise: float

    @property
    def noise_each(self) -> float:
        """The share of one operator, if all had the same."""
        return self.noise / len(self.names)


#: A group with this share of the noise that is allowed is not looked into where many are ranked.
_HARMLESS = 1 / 64


def ranked_groups(
    names: Sequence[str],
    sqnr_db: Callable[[Sequence[str]], float],
    min_sqnr_db: float,
    most: int,
) -> list[Group]:
    """:func:`noisy_groups` by the ratio of signal to noise at the outputs, which is to be kept.

    Args:
        names: the operators, in program order; at least one.
        sqnr_db: measures the ratio with the given ones quantized, in dB.
        min_sqnr_db: the ratio that the outputs must keep with all of them quantized.
        most: measurements, at most.
    """
    harmless = _HARMLESS * noise_share(min_sqnr_db)
    return noisy_groups(names, lambda some: noise_share(sqnr_db(some)), harmless, most)


def noise_share(sqnr_db: float) -> float:
    """The noise as a share of the signal."""
    return float(10 ** (-sqnr_db / 10))


def noisy_groups(
    names: Sequence[str],
    noise: Callable[[Sequence[str]], float],
    harmless: float,
    most: int,
) -> list[Group]:
    """Divide ``names`` into groups, the noisiest operators first.

    Args:
        names: the operators, in program order; at least one.
        noise: measures what the outputs' noise is with the given ones quantized.
        harmless: a group with no more noise is not looked into.
        most: so many measurements at most, but the first is always made.

    Returns:
        Groups that hold every operator once: single ones, harmless ones, and where ``most`` is too
        few, others; in falling order of an operator's share.
    """
    groups = [Group(tuple(names), noise(names))]
    for _ in range((most - 1) // 2):
        wide = [group for group in groups if len(group.names) > 1 and group.noise > harmless]
        if not wide:
            break
        noisiest = max(wide, key=lambda group: group.noise)
        groups.remove(noisiest)
        middle = len(noisiest.names) // 2
        for half in (noisiest.names[:middle], noisiest.names[middle:]):
            groups.append(Group(half, noise(half)))
    return sorted(groups, key=lambda group: -group.noise_each)
