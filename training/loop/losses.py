"""What the network is trained to make small.

Normalized focal loss: Sofiuk et al., AdaptIS (ICCV 2019), as RITM and the paper (section 3.3) use
it. Dice: Milletari et al., V-Net (3DV 2016), per sample.
"""

import torch

from icmformer.segmentation import MASK_THRESHOLD
from training.datasets.sample import IGNORE
from training.loop.recipe import Loss

_EPS = 1e-12


def segmentation_loss(logits: torch.Tensor, target: torch.Tensor, options: Loss) -> torch.Tensor:
    """Return what a recipe makes small, averaged over samples.

    Args:
        logits: (B, 1, H, W) float.
        target: (B, 1, H, W); 1 is object, 0 is not, -1 is ignored.
        options: of the recipe.
    """
    focal = normalized_focal_loss(logits, target, alpha=options.alpha, gamma=options.gamma).mean()
    return focal + options.dice * dice_loss(logits, target).mean() if options.dice else focal


def normalized_focal_loss(
    logits: torch.Tensor, target: torch.Tensor, *, alpha: float = 0.5, gamma: float = 2.0
) -> torch.Tensor:
    """Return the focal loss, rescaled so that easy samples pull as hard as difficult ones.

    Args:
        logits: (B, 1, H, W) float.
        target: (B, 1, H, W); 1 is object, 0 is not, -1 is ignored.
        alpha: weight of the object's pixels; 1 - alpha is that of the others.
        gamma: how fast the weight of a pixel falls as it is classified better.

    Returns:
        (B,) float; zero for a sample whose pixels are all ignored.
    """
    valid = (target != IGNORE).to(logits.dtype)
    is_object = target > 0.5
    # log p of the true class, and 1 - p of it, each from the logit's own side: neither loses
    # digits where the other would, so logits of ±200 keep a finite loss and gradient.
    towards_truth = torch.where(is_object, logits, -logits)
    missed = torch.sigmoid(-towards_truth)
    hardness = missed**gamma * valid
    count = valid.sum(dim=(1, 2, 3))
    with torch.no_grad():
        scale = count / (hardness.sum(dim=(1, 2, 3)) + _EPS)
    balance = torch.where(is_object, alpha, 1.0 - alpha)
    log_likelihood = torch.log(torch.clamp(torch.sigmoid(towards_truth) + _EPS, max=1.0))
    summed = (-balance * hardness * log_likelihood * valid).sum(dim=(1, 2, 3))
    return scale * summed / (count + _EPS)


def dice_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return one minus the soft Dice overlap.

    Args:
        logits: (B, 1, H, W) float.
        target: (B, 1, H, W); 1 is object, 0 is not, -1 is ignored.

    Returns:
        (B,) float in [0, 1].
    """
    valid = (target != IGNORE).to(logits.dtype)
    probability = torch.sigmoid(logits) * valid
    truth = (target > 0.5).to(logits.dtype)
    overlap = (probability * truth).sum(dim=(1, 2, 3))
    total = probability.sum(dim=(1, 2, 3)) + truth.sum(dim=(1, 2, 3))
    # One pixel's worth of agreement keeps an empty target from being a division by zero.
    return 1.0 - (2.0 * overlap + 1.0) / (total + 1.0)


def drift_loss(logits: torch.Tensor, expected: torch.Tensor) -> torch.Tensor:
    """Return how far an answer is from the one that is expected of it, relative to its object.

    The squared form of Dice between two probability maps: 0 where they are equal, about 1 where
    they have nothing in common, whatever the size of the object.

    Args:
        logits: (B, 1, H, W) float.
        expected: (B, 1, H, W) probabilities.

    Returns:
        (B,) float in [0, 1].
    """
    probability = torch.sigmoid(logits)
    apart = (probability - expected).square().sum(dim=(1, 2, 3))
    total = (probability.square() + expected.square()).sum(dim=(1, 2, 3))
    # One pixel's worth, as in Dice: two empty answers are equal.
    return apart / (total + 1.0)


def mean_iou(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Return the mean overlap of the masks at the threshold of predictions, for the training curve.

    Args:
        logits: (B, 1, H, W) float.
        target: (B, 1, H, W); 1 is object, 0 is not, -1 is ignored.

    Returns:
        scalar float in [0, 1]; samples without object and without prediction count as 1.
    """
    valid = target != IGNORE
    predicted = (torch.sigmoid(logits) > MASK_THRESHOLD) & valid
    truth = (target > 0.5) & valid
    union = (predicted | truth).sum(dim=(1, 2, 3))
    overlap = (predicted & truth).sum(dim=(1, 2, 3))
    iou = torch.where(
        union > 0, overlap / union.clamp(min=1), torch.ones_like(union, dtype=torch.float32)
    )
    return iou.mean()
