"""The honest counting, and the command that prints it beside the paper's."""

import re
import shutil

import pytest

from icmformer.errors import ConfigError
from icmformer.variants import variant_config
from training import __main__ as command_line
from training.commands.cost import parse_network
from training.errors import BenchmarkError, RecipeError
from training.evaluation.network_cost import count, measure


def test_vit_base_costs_what_the_reference_does_less_what_that_throws_away():
    cost = count(variant_config("vit_base"))

    # The reference's forward pass has 296.22 GFLOP by the same counter. It projects more in its
    # three cross-modality blocks (6 C² MACs a token), and fuses the head's four maps after
    # upsampling them instead of before (11 of 16 parts of the convolution's 3.3 G MACs).
    tokens, dim, width = 784, 768, 256
    wasted = 2 * 3 * 6 * dim * dim * tokens
    fused_late = 2 * width * width * (4 * 16 - (16 + 4 + 1 + 1 / 4)) * tokens
    flops = cost.image_flops + cost.click_flops + wasted + fused_late
    assert flops / 1e9 == pytest.approx(296.22, abs=0.01)
    assert cost.parameters == 125_423_297


def test_swin_base_costs_what_the_reference_does_less_what_that_throws_away():
    cost = count(variant_config("swin_base"))

    dim, tokens, width = 512, 24 * 24, 256
    wasted = 2 * 4 * 6 * dim * dim * tokens
    fused_late = 2 * width * width * (4 * 16 - (16 + 4 + 1 + 1 / 4)) * tokens
    # The merging of the skip stream after stage 2.
    merged_in_vain = 2 * 2 * dim * dim * tokens
    flops = cost.image_flops + cost.click_flops + wasted + fused_late + merged_in_vain
    assert flops / 1e9 == pytest.approx(167.74, abs=0.01)


@pytest.mark.parametrize("name", ["tiny", "tiny_swin"])
def test_every_tensor_of_what_is_timed_is_on_the_device(name):
    # On the meta device operations refuse tensors of the CPU, as on a GPU.
    assert measure(variant_config(name), "meta", 1).everything > 0


def test_the_table_counts_twice_and_measures(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", "cost", "tiny", "tiny_swin@96", "--repeats", "1"])

    assert command_line.main() == 0

    table = capsys.readouterr().out
    assert re.search(r"^tiny +64( +[\d.]+){4} +\d+%( +\d+\.\d{3}){3}$", table, re.MULTILINE)
    assert re.search(r"^tiny_swin +96 ", table, re.MULTILINE)
    assert re.search(r"^published: iCMFormer ViT-B +448 +124\.81 +297\.54 ", table, re.MULTILINE)
    assert "thop" in table


def test_counting_needs_no_timing(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", "cost", "vit_huge", "--repeats", "0"])

    assert command_line.main() == 0

    table = capsys.readouterr().out
    assert re.search(r"^vit_huge +448 +816\.81( +[\d.]+){3} +\d+%$", table, re.MULTILINE)
    assert "Network only; not measured (--repeats 0)." in table


def test_the_papers_numbers_stand_beside_its_own(monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["training", "cost", "vit_base", "--repeats", "0"])

    assert command_line.main() == 0

    table = capsys.readouterr().out
    for name in ("vit_base", "published: iCMFormer ViT-B"):
        assert re.search(rf"^{name} +448 +124\.81 +297\.54\b", table, re.MULTILINE)


def test_table_8_is_counted_from_its_recipes(monkeypatch, capsys):
    printed = {
        "vit_base_1": 105.90, "vit_base_6": 153.16, "swin_base_8": 121.06, "swin_base_1": 91.64
    }  # fmt: skip
    recipes = [f"training/recipes/table8_{name}_cross.yaml" for name in printed]
    monkeypatch.setattr("sys.argv", ["training", "cost", *recipes, "--repeats", "0"])

    assert command_line.main() == 0

    table = capsys.readouterr().out
    for name, millions in printed.items():
        row = rf"^table8_{name}_cross +\d+ +{millions:.2f} "
        assert re.search(row, table, re.MULTILINE)


def test_a_recipe_may_be_called_yml(tmp_path):
    shutil.copy("training/recipes/sbd_vit_base.yaml", tmp_path / "mine.yml")

    name, config = parse_network(f"{tmp_path / 'mine.yml'}@224")

    assert (name, config.embed_dim, config.input_size) == ("mine", 768, (224, 224))


@pytest.mark.parametrize("size", ["", "@224"])
def test_the_path_of_a_recipe_may_hold_an_at(tmp_path, size):
    folder = tmp_path / "me@work"
    folder.mkdir()
    shutil.copy("training/recipes/sbd_vit_base.yaml", folder / "mine@2.yaml")

    name, config = parse_network(f"{folder / 'mine@2.yaml'}{size}")

    assert name == "mine@2"
    assert config.input_size == ((224, 224) if size else (448, 448))


@pytest.mark.parametrize(
    ("text", "error", "sentence"),
    [
        ("vit", ConfigError, "unknown model 'vit'"),
        ("tiny@big", BenchmarkError, "'big' in 'tiny@big'"),
        ("none.yaml", RecipeError, "none.yaml cannot be read"),
        ("tiny@63", ConfigError, r"tiny@63: .*input_size \(63, 63\) cannot be cut"),
    ],
)
def test_a_misspelt_network_is_answered_with_a_sentence(text, error, sentence):
    with pytest.raises(error, match=sentence):
        parse_network(text)
