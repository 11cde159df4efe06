"""With the same weights and inputs, the network computes what the authors' code computes."""

import re
from collections import defaultdict

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from icmformer import upstream_checkpoint
from tests import golden_networks

SLOW = pytest.mark.slow
CASES = [
    ("swin_s_224", "first_224"),
    ("swin_s_224", "multi_224"),
    *(
        pytest.param(network, case, marks=SLOW)
        for network, case in (
            ("swin_s_224", "first_448"),
            ("swin_s_224", "multi_448"),
            ("swin_b_384_ca4", "first_384"),
            ("swin_b_384_ca4", "multi_384"),
            ("vit_b_448", "first_448"),
            ("vit_b_448", "multi_448"),
            ("vit_b_448", "first_672"),
            ("vit_b_448", "multi_672"),
        )
    ),
]
# The modules whose outputs the fixtures know. Keeping every layer's would take gigabytes.
RECORDED = re.compile(
    r"backbone\.(click_embed|image_embed|patch_embed|cross_modality(\.blocks\.\d+)?"
    r"|blocks\.\d+|stages\.\d+\.(blocks\.\d+|downsample)|norms\.\d+|pyramid\.\w+)"
    r"|head(\.branches\.\d+|\.dropout|\.classifier)?"
)


class Golden:
    """A network with the golden weights, the recorded values, and what flows through it."""

    def __init__(self, network):
        self.arrays = golden_networks.load(network)
        weights = golden_networks.state_dict(network)
        assert golden_networks.fingerprint(weights) == self.arrays["fill_sha256"]
        self.model = upstream_checkpoint.from_state_dict(weights)
        self.calls = defaultdict(list)
        for name, module in self.model.named_modules():
            if RECORDED.fullmatch(name):
                module.register_forward_hook(
                    lambda _, __, output, name=name: self.calls[name].append(output.detach())
                )

    def run(self, case, dtype=torch.float32):
        image, maps, previous = golden_networks.inputs(self.model, self.arrays, case)
        self.calls.clear()
        self.model.to(dtype)
        try:
            with torch.no_grad():
                return self.model(image.to(dtype), maps.to(dtype), previous.to(dtype))
        finally:
            self.model.float()


@pytest.fixture(scope="module")
def golden():
    """One network at a time: together they would fill the memory of a small machine.

    Building one takes seconds, so tests go through them in an order that begins with the last one.
    """
    kept = {}

    def build(network):
        if network not in kept:
            kept.clear()
            kept[network] = Golden(network)
        return kept[network]

    return build


@pytest.mark.parametrize(("network", "case"), CASES)
def test_logits_and_intermediate_tensors_agree(golden, network, case):
    golden = golden(network)

    logits = golden.run(case)[0, 0].numpy()

    quarter = golden.calls["head"][0].numpy()
    np.testing.assert_allclose(quarter, golden.arrays[f"{case}/logits_quarter"], 0, 1e-5)
    sampled = golden.arrays[f"{case}/logits_full_stride8"]
    np.testing.assert_allclose(logits[::8, ::8], sampled, 0, 1e-5)
    exact = logits.astype(np.float64)
    summary = [exact.mean(), exact.std(), np.linalg.norm(exact), exact.min(), exact.max()]
    np.testing.assert_allclose(summary, golden.arrays[f"{case}/logits_full_stats"], 1e-5, 1e-5)

    ours = intermediate_tensors(golden.calls, golden.model.config)
    names = [str(name) for name in golden.arrays[f"{case}/names"]]
    compared = [name for name in names if name in ours]
    # The maps of the clicks are an input here; the merging that this package does not compute is
    # one whose result the reference discards.
    assert set(names) - set(compared) <= {"dist_maps", "backbone.layers.1.downsample#3"}
    for name in compared:
        values = ours[name].double().flatten()
        expected = golden.arrays[f"{case}/stats"][names.index(name)]
        summary = [values.mean(), values.std(correction=0), values.norm()]
        np.testing.assert_allclose(summary, expected, rtol=1e-5, atol=1e-5, err_msg=name)
        places = np.linspace(0, len(values) - 1, 16).astype(np.int64)
        sample = golden.arrays[f"{case}/samples16"][names.index(name)]
        np.testing.assert_allclose(values[places], sample, rtol=1e-5, atol=1e-4, err_msg=name)


@pytest.mark.parametrize(
    ("network", "case"),
    [pytest.param("vit_b_448", "multi_448", marks=SLOW), ("swin_s_224", "multi_224")],
)
def test_logits_agree_in_float64(golden, network, case):
    golden = golden(network)

    golden.run(case, torch.float64)

    quarter = golden.calls["head"][0].numpy()
    np.testing.assert_allclose(quarter, golden.arrays[f"{case}/logits_quarter_f64"], 0, 1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["swin_s_224", "vit_b_448"])
def test_gradients_agree(golden, network):
    pytest.importorskip("pydantic")  # which the recipes need, and the network does not
    from training.loop.losses import normalized_focal_loss

    golden = golden(network)
    recorded = golden_networks.load(f"grad_{network}")
    size = golden.model.input_size[0]
    inputs = golden_networks.inputs(golden.model, golden.arrays, f"multi_{size}")

    loss = normalized_focal_loss(golden.model(*inputs), half_ignored_disk(size)).mean()
    loss.backward()

    gradients = {name: p.grad.double().norm().item() for name, p in golden.model.named_parameters()}
    golden.model.zero_grad()
    plain_vit = golden.model.config.backbone == "vit"
    names = [upstream_checkpoint.rename(str(key), plain_vit) for key in recorded["keys"]]
    assert loss.item() == pytest.approx(recorded["loss"].item(), rel=1e-5)
    assert set(gradients) == set(names)
    np.testing.assert_allclose(
        [gradients[name] for name in names], recorded["grad_norms"], rtol=2e-4
    )


def half_ignored_disk(size):
    rows, columns = np.mgrid[:size, :size]
    inside = (rows - 0.45 * size) ** 2 + (columns - 0.55 * size) ** 2 < (0.3 * size) ** 2
    target = torch.from_numpy(inside.astype(np.float32))
    target[: size // 8] = -1
    return target[None, None]


def intermediate_tensors(calls, config):
    """Name what flowed through our modules as the reference does, call by call."""
    if config.backbone == "vit":
        streams = _vit_streams(calls, config)
    else:
        streams = _swin_streams(calls, config)
    for index in range(4):
        # the reference looks after the ReLU
        streams[f"head.convs.{index}"] = F.relu(calls[f"head.branches.{index}"][0])
    streams["head.fusion_conv"] = calls["head.dropout"][0]
    streams["head.conv_seg"] = calls["head.classifier"][0]
    for index in range(config.num_cross_blocks):
        name = f"backbone.cross_modality.blocks.{index}"
        streams[f"backbone.blocks2.{index}"] = calls[name][0]
    return streams


def _vit_streams(calls, config):
    streams = {
        "patch_embed_coords": calls["backbone.click_embed"][0],
        "backbone.patch_embed": calls["backbone.image_embed"][0],
        "sum_XplusY(input of second group)": calls["backbone.cross_modality"][0],
    }
    for index in range(sum(config.depths)):
        name = f"backbone.blocks.{index}"
        for call, tensor in enumerate(calls[name], start=1):
            if (index + 1) % config.global_every == 0:
                tensor = row_by_row(tensor, config.window_size)
            streams[name if call == 1 else f"{name}#{call}"] = tensor
    ours = ("quarter", "eighth", "sixteenth", "thirtysecond")
    for scale, name in zip((4, 8, 16, 32), ours, strict=True):
        streams[f"neck.down_{scale}"] = calls[f"backbone.pyramid.{name}"][0]
    return streams


def row_by_row(tokens, window):
    """Bring (1, N, C) from our order, window by window, to the reference's."""
    count = int(tokens.shape[1] ** 0.5) // window
    by_window = tokens.unflatten(1, (count, count, window, window))
    return by_window.transpose(2, 3).flatten(1, 4)


def _swin_streams(calls, config):
    streams = {"sum_XplusY(input of layers.2)": calls["backbone.cross_modality"][0]}
    for stage, depth in enumerate(config.depths):
        blocks = [f"blocks.{block}" for block in range(depth)]
        for part in [*blocks, "downsample"] if stage < 3 else blocks:
            # ours: image, then clicks and skip stream in one batch
            tensors = [t for call in calls[f"backbone.stages.{stage}.{part}"] for t in call]
            for number, tensor in enumerate(tensors, start=1):
                suffix = "" if number == 1 else f"#{number}"
                streams[f"backbone.layers.{stage}.{part}{suffix}"] = tensor
        streams[f"backbone.norm{stage}"] = calls[f"backbone.norms.{stage}"][0]
    image, clicks = (tensor.permute(0, 3, 1, 2) for tensor in calls["backbone.patch_embed"])
    streams |= {"backbone.patch_embed": image, "backbone.patch_embed#2": clicks}
    return streams
