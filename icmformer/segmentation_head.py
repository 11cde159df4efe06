"""From backbone features to logits: the feature pyramid of the plain ViT, and the head of both.

Paper section 3.1 and table 6: four convolutions make the missing scales of a plain ViT (after
ViTDet and SimpleClick); the head is SegFormer's, without norms.
"""

from collections.abc import Sequence

import torch
from torch import nn
from torch.nn import functional as F

from icmformer.config import HeadInit


def _norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(1, channels)


class FeaturePyramid(nn.Module):
    """Make maps at 1/4, 1/8, 1/16 and 1/32 of the image from the one map of a plain ViT.

    Each GroupNorm has a single group: it normalises over channels and positions together.
    """

    def __init__(self, dim: int, widths: Sequence[int]) -> None:
        super().__init__()
        quarter, eighth, sixteenth, thirtysecond = widths
        hidden = max(2 * quarter, dim // 2)
        self.quarter = nn.Sequential(
            nn.ConvTranspose2d(dim, hidden, 2, stride=2),
            _norm(hidden),
            nn.GELU(),
            nn.ConvTranspose2d(hidden, hidden // 2, 2, stride=2),
            _norm(hidden // 2),
            *_project(hidden // 2, quarter),
        )
        hidden = max(eighth, dim // 2)
        self.eighth = nn.Sequential(
            nn.ConvTranspose2d(dim, hidden, 2, stride=2), _norm(hidden), *_project(hidden, eighth)
        )
        self.sixteenth = nn.Sequential(*_project(dim, sixteenth))
        hidden = max(thirtysecond, 2 * dim)
        self.thirtysecond = nn.Sequential(
            nn.Conv2d(dim, hidden, 2, stride=2), _norm(hidden), *_project(hidden, thirtysecond)
        )

    def forward(self, features: torch.Tensor) -> list[torch.Tensor]:
        """Map (B, C, H/16, W/16) to four maps, the finest first."""
        return [
            self.quarter(features),
            self.eighth(features),
            self.sixteenth(features),
            self.thirtysecond(features),
        ]


def _project(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, 1), _norm(width), nn.GELU()


class SegmentationHead(nn.Module):
    """Unify the channels of four maps, bring them to 1/4 resolution, fuse, and classify."""

    def __init__(
        self,
        in_channels: Sequence[int],
        width: int,
        init: HeadInit,
        dropout: float,
    ) -> None:
        super().__init__()
        self.width = width
        self.branches = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in in_channels)
        self.fusion = nn.Conv2d(len(in_channels) * width, width, 1)
        self.dropout = nn.Dropout2d(dropout)
        self.classifier = nn.Conv2d(width, 1, 1)
        for convolution in (*self.branches, self.fusion):
            nn.init.kaiming_normal_(convolution.weight, mode=init, nonlinearity="relu")
            nn.init.zeros_(convolution.bias)

    def forward(self, features: Sequence[torch.Tensor]) -> torch.Tensor:
        """Map four maps (B, C_i, H_i, W_i), the finest first, to logits (B, 1, H_0, W_0)."""
        finest, *others = features
        fused = self._share(0, finest, self.fusion.bias)
        for index, feature in enumerate(others, start=1):
            fused = fused + _resize(self._share(index, feature), finest.shape[-2:])
        return self.classifier(self.dropout(F.relu(fused)))

    def _share(
        self, index: int, feature: torch.Tensor, bias: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Return what one map contributes to the fusion, at its own resolution.

        The fusion is linear, so it may come before the upsampling: equal to fusing the
        concatenated maps, as in the reference, at a third of the cost.
        """
        start = index * self.width
        weight = self.fusion.weight[:, start : start + self.width]
        return F.conv2d(F.relu(self.branches[index](feature)), weight, bias)


def _resize(features: torch.Tensor, size: torch.Size) -> torch.Tensor:
    if features.shape[-2:] == size:
        return features
    return F.interpolate(features, size=size, mode="bilinear", align_corners=False)
