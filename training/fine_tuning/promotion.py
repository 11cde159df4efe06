"""May this candidate go live? A pure function of score cards.

Both models answered the same simulated annotator on the same objects, on images that neither was
trained on. The candidate goes live only if it is clearly better where it was fine-tuned and not
worse elsewhere; with too little to judge by, a person decides.
"""

from dataclasses import dataclass
from typing import Literal

from training.errors import ScoreCardError
from training.evaluation.bootstrap import interval_over_images
from training.evaluation.noc import Interval, ScoreCard
from training.object_names import image_of
from training.written_numbers import counted, signed

Verdict = Literal["promote", "keep", "ask"]


@dataclass(frozen=True)
class Policy:
    """What the gate demands.

    Attributes:
        threshold: the IoU whose number of clicks counts.
        max_retention_loss: how many more clicks, as a share, the retention set may need.
        min_objects: fewer held-out objects cannot show that a candidate is better.
        min_images: objects of fewer images cannot show anything, neither here nor on the retention
            set.
    """

    threshold: float
    max_retention_loss: float
    min_objects: int
    min_images: int


@dataclass(frozen=True)
class Comparison:
    """The same objects, clicked with the live model and with the candidate.

    An object is in a card once for each annotator who clicked it.
    """

    live: ScoreCard
    candidate: ScoreCard


@dataclass(frozen=True)
class Change:
    """How the mean number of clicks changed.

    Attributes:
        live: mean clicks of the live model.
        candidate: mean clicks of the candidate.
        saved: clicks saved per object, positive if the candidate is better, with its 95 %
            bootstrap interval over images.
        objects: how many were compared.
        images: how many they are on.
    """

    live: float
    candidate: float
    saved: Interval
    objects: int
    images: int

    @property
    def share(self) -> float:
        """Clicks saved as a share of the live model's; negative where more are needed."""
        return self.saved.mean / self.live


@dataclass(frozen=True)
class Decision:
    """The verdict, in sentences for people, and what it rests on; None where nothing was there."""

    verdict: Verdict
    reasons: tuple[str, ...]
    held_out: Change | None
    retention: Change | None


def decide(held_out: Comparison | None, retention: Comparison | None, policy: Policy) -> Decision:
    """Decide about a candidate.

    Args:
        held_out: on the project's held-out objects; None if there is not one.
        retention: on objects unlike the project's; None if there are none.
        policy: what is demanded.

    Raises:
        ScoreCardError: if two cards of a comparison are not about the same objects.
    """
    here = compare(held_out, policy.threshold) if held_out else None
    elsewhere = compare(retention, policy.threshold) if retention else None
    judged = [_judge_held_out(here, policy), _judge_retention(elsewhere, policy)]
    # One "keep" is enough to keep; a "promote" needs everybody.
    verdicts = [verdict for verdict, _ in judged]
    order: tuple[Verdict, ...] = ("keep", "ask", "promote")
    verdict = next(found for found in order if found in verdicts)
    return Decision(verdict, tuple(reason for _, reason in judged), here, elsewhere)


def compare(comparison: Comparison, threshold: float) -> Change:
    """Return how the number of clicks to reach an IoU changed, with its uncertainty.

    Raises:
        ScoreCardError: if the cards are not about the same objects, or not clicked alike.
    """
    live, candidate = comparison.live, comparison.candidate
    names = [sample.name for sample in live.samples]
    if names != [sample.name for sample in candidate.samples]:
        raise ScoreCardError("the two score cards are not about the same objects")
    if live.max_clicks != candidate.max_clicks:
        raise ScoreCardError("the two score cards gave up after different numbers of clicks")
    before, after = (card.clicks_to_reach(threshold) for card in (live, candidate))
    most = live.max_clicks - 1
    low, high = interval_over_images(before - after, names, (-most, most))
    return Change(
        live=float(before.mean()),
        candidate=float(after.mean()),
        saved=Interval(float((before - after).mean()), float(low), float(high)),
        objects=len(set(names)),
        images=len({image_of(name) for name in names}),
    )


def _judge_held_out(change: Change | None, policy: Policy) -> tuple[Verdict, str]:
    if change is None:
        return "ask", "no accepted object is on a held-out image yet: nothing to compare on"
    clicks = _in_words(change)
    if change.saved.high < 0 and change.images >= policy.min_images:
        return "keep", f"the candidate needs more clicks: {clicks}"
    if change.objects < policy.min_objects or change.images < policy.min_images:
        return "ask", (
            f"{clicks}, but on {counted(change.objects, 'held-out object')} of "
            f"{counted(change.images, 'image')} only; "
            f"{counted(policy.min_objects, 'object')} on {counted(policy.min_images, 'image')} are "
            "needed to be sure"
        )
    if change.saved.low > 0:
        return "promote", f"the candidate needs fewer clicks: {clicks}"
    return "keep", f"the candidate is not shown to need fewer clicks: {clicks}"


def _judge_retention(change: Change | None, policy: Policy) -> tuple[Verdict, str]:
    if change is None:
        return "ask", (
            "the retention set has no object to judge by: what the candidate forgot is unknown; "
            "add images with objects to it"
        )
    clicks = _in_words(change)
    loss = policy.max_retention_loss
    if change.saved.high < -loss * change.live and change.images >= policy.min_images:
        return "keep", f"the candidate forgot too much on the retention set: {clicks}"
    if change.share < -loss:
        return "ask", (
            f"the candidate may have forgotten too much on the retention set: {clicks}; "
            f"{_size(change)} are too few to be sure"
        )
    if change.images < policy.min_images:
        return "ask", (
            f"the retention set seems kept: {clicks}, but on {_size(change)} only; "
            f"{counted(policy.min_images, 'image')} are needed to be sure"
        )
    return "promote", f"the retention set is kept: {clicks}"


def _size(change: Change) -> str:
    return f"{counted(change.objects, 'object')} of {counted(change.images, 'image')}"


def _in_words(change: Change) -> str:
    saved = change.saved
    return (
        f"{change.live:.2f} → {change.candidate:.2f} clicks ("
        f"{signed(-change.share, '+.1%')}; saved {signed(saved.mean)}, "
        f"95 % {signed(saved.low)} to {signed(saved.high)})"
    )
