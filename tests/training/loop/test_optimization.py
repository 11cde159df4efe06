"""Schedules, parameter groups and the moving average."""

import pytest
import torch

from icmformer import build_model
from training.errors import RecipeError
from training.loop.optimization import (
    learning_rate,
    make_optimizer,
    require_finite,
    set_learning_rate,
    update_average,
)
from training.loop.recipe import Optimization


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"milestones": (50, 55)}, {0: 1, 49.9: 1, 50: 0.1, 54.9: 0.1, 55: 0.01}),
        ({"schedule": "cosine", "warmup_epochs": 10}, {0: 0, 5: 0.5, 10: 1, 35: 0.5, 60: 0}),
        ({"schedule": "decay_at_end", "decay_epochs": 20}, {0: 1, 40: 1, 50: 0.5, 60: 0}),
    ],
)
def test_learning_rates_over_60_epochs(options, expected):
    made = Optimization(learning_rate=1.0, **options)

    for epochs, rate in expected.items():
        assert learning_rate(made, epochs, 60) == pytest.approx(rate)


def groups(optimizer):
    return {(group["share"], group["weight_decay"]) for group in optimizer.param_groups}


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_every_parameter_is_optimised_once_and_only_matrices_decay(name):
    model = build_model(name)

    optimizer = make_optimizer(model, Optimization(optimizer="adamw", weight_decay=0.1))

    assert groups(optimizer) == {(1.0, 0.1), (1.0, 0.0)}
    placed = [id(p) for group in optimizer.param_groups for p in group["params"]]
    assert sorted(placed) == sorted(id(p) for p in model.parameters())
    names = {id(p): n for n, p in model.named_parameters()}
    decayed = next(g for g in optimizer.param_groups if g["weight_decay"])["params"]
    assert not any("position" in names[id(p)] or p.ndim == 1 for p in decayed)


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_with_layer_decay_the_pretrained_layers_learn_ever_slower_downwards(name):
    model = build_model(name)

    optimizer = make_optimizer(model, Optimization(layer_decay=0.5))

    shares = {id(p): g["share"] for g in optimizer.param_groups for p in g["params"]}
    of = {n: shares[id(p)] for n, p in model.named_parameters()}
    assert {of[n] for n in of if n.startswith(("head", "backbone.cross", "backbone.pyr"))} == {1.0}
    depth = sum(model.config.depths)
    if name == "tiny":
        blocks = [of[f"backbone.blocks.{i}.attn.qkv.weight"] for i in range(depth)]
        assert of["backbone.click_embed.proj.weight"] == 1.0
        assert of["backbone.image_embed.proj.weight"] == of["backbone.position_embedding"]
        lowest = of["backbone.position_embedding"]
    else:
        blocks = [
            of[f"backbone.stages.{stage}.blocks.{i}.attn.qkv.weight"]
            for stage, number in enumerate(model.config.depths)
            for i in range(number)
        ]
        merging = {n: s for n, s in of.items() if "stages.0.downsample" in n}
        assert set(merging.values()) == {blocks[model.config.depths[0] - 1]}
        lowest = of["backbone.patch_embed.proj.weight"]
    assert blocks == [0.5 ** (depth - i) for i in range(depth)]
    assert lowest == 0.5 ** (depth + 1)


def test_shares_scale_the_learning_rate():
    optimizer = make_optimizer(build_model("tiny"), Optimization())
    optimizer.param_groups[0]["share"] = 0.5

    set_learning_rate(optimizer, 2.0)

    assert [group["lr"] for group in optimizer.param_groups] == [1.0, 2.0]


def test_the_average_follows_the_weights():
    model, average = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    torch.nn.init.constant_(model.weight, 1.0)
    torch.nn.init.constant_(average.weight, 0.0)

    update_average(average, model, 0.9, step=10**6)
    torch.testing.assert_close(average.weight, torch.full((2, 2), 0.1))

    update_average(average, model, 0.9, step=0)
    torch.testing.assert_close(average.weight, torch.full((2, 2), 0.1 + 0.9 * 0.9))


@pytest.mark.parametrize("weight", [float("nan"), float("inf"), -float("inf")])
def test_a_weight_that_is_no_finite_number_ends_a_training(weight):
    network = build_model("tiny")
    require_finite(network, "5 steps")
    list(network.parameters())[-1].data.view(-1)[0] = weight

    with pytest.raises(
        RecipeError, match=r"no finite numbers after 5 steps: lower .*learning_rate"
    ):
        require_finite(network, "5 steps")
