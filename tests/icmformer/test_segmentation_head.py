"""The head against the plain way to compute it."""

import pytest
import torch
from torch.nn import functional as F

from icmformer.segmentation_head import SegmentationHead

CHANNELS = (8, 16, 32, 64)


@pytest.fixture
def features():
    torch.manual_seed(0)
    sizes = ((16, 20), (8, 10), (4, 5), (2, 3))
    return [torch.randn(2, c, *size) for c, size in zip(CHANNELS, sizes, strict=True)]


def test_fusing_before_upsampling_equals_fusing_the_concatenated_maps(features):
    head = SegmentationHead(CHANNELS, width=24, init="fan_out", dropout=0.1).eval()
    torch.nn.init.normal_(head.fusion.bias)

    logits = head(features)

    unified = [F.relu(branch(f)) for branch, f in zip(head.branches, features, strict=True)]
    upsampled = [
        F.interpolate(u, size=(16, 20), mode="bilinear", align_corners=False) for u in unified
    ]
    expected = head.classifier(F.relu(head.fusion(torch.cat(upsampled, dim=1))))
    torch.testing.assert_close(logits, expected)


@pytest.mark.parametrize(("init", "deviation"), [("fan_out", 24), ("fan_in", 64)])
def test_the_convolutions_start_as_kaiming_says(init, deviation):
    torch.manual_seed(0)
    head = SegmentationHead(CHANNELS, width=24, init=init, dropout=0.1)

    expected = (2 / deviation) ** 0.5
    assert head.branches[3].weight.std().item() == pytest.approx(expected, rel=0.05)
    assert head.branches[3].bias.abs().max() == 0


def test_whole_channels_are_dropped_in_training_only(features):
    head = SegmentationHead(CHANNELS, width=24, init="fan_out", dropout=0.5)

    assert not torch.equal(head(features), head(features))
    head.eval()
    assert torch.equal(head(features), head(features))
