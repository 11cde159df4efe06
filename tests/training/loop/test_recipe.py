"""A recipe that cannot work stops before the first batch, with a sentence."""

import argparse
import json
import re
from pathlib import Path

import numpy as np
import pytest

import training
from training.datasets.benchmarks import benchmark_folder
from training.errors import DatasetError, RecipeError
from training.fine_tuning.fine_tune_recipe import load_fine_tune_recipe
from training.home_paths import given_path
from training.loop.recipe import IterativeClicks, load_recipe

RECIPES = sorted((Path(training.__file__).parent / "recipes").glob("*.yaml"))
TRAINING_RECIPES = [path for path in RECIPES if path.name != "fine_tune.yaml"]
MINIMAL = """
run: runs/x
network: {name: tiny}
data: {root: data, parts: [{path: photos}]}
sampling: {augmentation: {kind: object_crop}}
epoch: 8
stages: [{epochs: 3, size: 64, batch_size: 4}]
"""


@pytest.fixture
def minimal(tmp_path):
    path = tmp_path / "minimal.yaml"
    path.write_text(MINIMAL)
    return path


@pytest.mark.parametrize(
    ("override", "named"),
    [
        ("optimization.learnig_rate=1", "learnig_rate"),
        ("sampling.augmentation.zoom=2", "zoom"),
        ("networks.name=tiny", "networks"),
        ("optimization.optimizer=sgd", "optimizer"),
        ("epoch=10", "not work: epoch 10 is no multiple of 4, a batch_size: 8 or 12 would be"),
        ("epoch=3", "epoch 3 is no multiple of 4, a batch_size: 4 would be"),
        ("run=2024", "run: YAML reads this as the number or date 2024, not as a path: write ./ be"),
        ("run=2026-11-28", "run: YAML reads this as the number or date 2026-11-28, not as a path"),
        ("optimization.accumulate=3", "accumulate"),
        ("sampling.clicks.slots=2", "slots 2 has no room for 3 iterative clicks"),
        ("stages=[]", "stages"),
        ("stages=[{epochs: 1, size: 100, batch_size: 4}]", "size 100"),
        ("network.name=vit_bass", "vit_bass"),
        ("network.overrides.num_cross_block=2", "num_cross_block'"),
        ("data.parts=[{path: x, project: 2}]", "kind accepted"),
        ("data={root: x, cache: y, parts: [{path: a/z}, {path: b/z}]}", "share a cache"),
        ("data.max_side=400", "in the cache: set cache, or drop max_side"),
        ("epoch", "key=value"),
        ("stages=[{", "no YAML: expected the node content, but found '<stream end>'$"),
        ("data.parts={path: mine}", "data.parts: Input should be a list$"),
        ("run=null", "run: Input is not a valid path$"),
        ("iterative_clicks.probabilities=[0.5, 0.1]", "add up to 1"),
        ("iterative_clicks.probabilities=[]", "add up to 1"),
        ("iterative_clicks.probabilities=[1.5, -0.5]", "probabilities"),
        ("sampling.augmentation.box_scale=[2.2, 1.1]", "must not exceed"),
        ("optimization.betas=[0.9, 2]", "betas"),
        ("optimization.schedule=decay_at_end", "decay_epochs belongs to"),
        ("optimization.warmup_epochs=3", "warmup_epochs 3 is no less than the 3 epochs of all st"),
        ("data.parts.0.objects.merge_max=100000000000000000000", "merge_max: Input should be less"),
        ("data.parts.0.objects.neighbours_max=100000000000000000000", "neighbours_max: Input"),
        ("loss.alpha=2", "alpha"),
        ("seed=-1", "seed"),
        ("seed=100000000000000000000000", "seed"),
        ("optimization.learning_rate=.inf", "learning_rate: Input should be a finite number"),
        ("data.parts=[{path: x, weight: .inf}]", "weight"),
        ("data={root: x, cache: y, max_side: 0, parts: [{path: z}]}", "max_side"),
        ("sampling.augmentation.box_scale=[-3, -2]", "box_scale"),
        ("sampling.augmentation={kind: scale_and_crop, scale: [1, 1000]}", "scale"),
        ("sampling.clicks.ring=1e9", "ring"),
        ("run=2026-13-45", "no YAML"),
        pytest.param("run=" + 2000 * "[", "no YAML", id="nested deeply"),
    ],
)
def test_what_cannot_work_is_named(minimal, override, named):
    with pytest.raises(RecipeError, match=named):
        load_recipe(minimal, [override])


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optimization.learnig_rate=1", "learnig_rate is not a setting; did you mean learning_r"),
        ("networks.name=tiny", "networks is not a setting; did you mean network?"),
        ("data.parts=[{paths: x}]", "data.parts.0.paths is not a setting; did you mean path?"),
        ("sampling.augmentation.box_scal=2", "box_scal is not a setting; did you mean box_scale?"),
        ("validation={every: 1, data: d, set: [x]}", "did you mean sets?"),
        (
            "sampling.augmentation.quarter_turns=0",
            "quarter_turns is not a setting; there are box_least, box_scale, colour, degrees, flip",
        ),
        ("loss.lr=3", "loss.lr is not a setting; there are alpha, dice, gamma"),
    ],
)
def test_a_misspelt_setting_is_answered_with_what_was_meant(minimal, override, sentence):
    with pytest.raises(RecipeError, match=re.escape(sentence)):
        load_recipe(minimal, [override])


def test_what_is_wrong_is_said_once(minimal):
    with pytest.raises(RecipeError) as refused:
        load_recipe(minimal, ["stages.0.epoch=3"])
    assert str(refused.value).endswith("stages.0.epoch is not a setting; did you mean epochs?")
    with pytest.raises(RecipeError) as refused:
        load_recipe(minimal, ["loss.lr=3", "loss.zz=3"])
    assert str(refused.value).endswith(
        "loss.lr is not a setting; there are alpha, dice, gamma; loss.zz is not a setting"
    )


def test_an_unknown_device_is_answered_with_those_there_are():
    with pytest.raises(RecipeError, match="device: must be auto, cpu, cuda, or one of several"):
        load_fine_tune_recipe(overrides=["device=gpu"])


def test_the_epoch_that_is_advised_suits_all_stages(minimal):
    stages = "[{epochs: 1, size: 64, batch_size: 6}, {epochs: 1, size: 96, batch_size: 4}]"

    with pytest.raises(RecipeError, match="no multiple of 4, a batch_size: 24 or 36 would be"):
        load_recipe(minimal, [f"stages={stages}", "epoch=30"])


def test_a_name_that_looks_like_a_number_can_be_given_as_advised(minimal):
    assert load_recipe(minimal, ["run=./2024"]).run == Path("2024")


def test_every_process_gets_an_equal_share_of_each_piece(minimal):
    recipe = load_recipe(minimal, ["optimization.accumulate=2"])
    recipe.check_shares(processes=2)
    with pytest.raises(RecipeError, match="batch_size 4 cannot be shared out to 4 processes in 2"):
        recipe.check_shares(processes=4)


def test_overrides_reach_nested_settings(minimal):
    recipe = load_recipe(minimal, ["optimization.ema=0.99", "data.parts=[{path: other}]"])

    assert recipe.optimization.ema == 0.99
    assert recipe.data.parts[0].path == Path("other")
    assert recipe.samples == 24
    assert recipe.boundaries() == ((24, 64, 4),)


def test_a_number_selects_an_item_of_a_list(minimal):
    recipe = load_recipe(
        minimal,
        [
            "stages=[{epochs: 2, size: 64, batch_size: 4}, {epochs: 1, size: 96, batch_size: 4}]",
            "stages.0.batch_size=2",
            "stages.-1.epochs=5",
            "data.parts.0.path=other",
            "data.parts.0.objects={merge_probability: 0}",
            "iterative_clicks.probabilities=[0.5, 0.5]",
            "iterative_clicks.probabilities.1=0.25",
            "iterative_clicks.probabilities.0=0.75",
        ],
    )

    assert [stage.batch_size for stage in recipe.stages] == [2, 4]
    assert [stage.epochs for stage in recipe.stages] == [2, 5]
    assert recipe.data.parts[0].path == Path("other")
    assert recipe.data.parts[0].objects.merge_probability == 0
    assert recipe.iterative_clicks.probabilities == (0.75, 0.25)


@pytest.mark.parametrize("key", ["stages.1.size", "stages.-2.size", "stages.size", "stages.0x"])
def test_an_item_that_is_not_there_is_answered_with_how_many_there_are(minimal, key):
    with pytest.raises(RecipeError, match=r"stages\.\S+ is not there: stages is a list of 1"):
        load_recipe(minimal, [f"{key}=64"])


def test_of_settings_that_a_file_names_twice_one_is_changed(tmp_path):
    path = tmp_path / "aliases.yaml"
    parts = "[{path: a, objects: &one {neighbours_max: 1}}, {path: b, objects: *one}]"
    path.write_text(MINIMAL.replace("[{path: photos}]", parts))

    recipe = load_recipe(path, ["data.parts.1.objects.neighbours_max=2"])

    assert [part.objects.neighbours_max for part in recipe.data.parts] == [1, 2]


def test_a_tilde_is_the_home_folder(minimal, monkeypatch):
    monkeypatch.setenv("HOME", "/home/ann")
    recipe = load_recipe(
        minimal,
        [
            "run=~/run",
            "data={root: ~/data, cache: ~/cache, parts: [{path: ~/p.zip, scores: ~/s.pkl}]}",
            "network={name: tiny, checkpoint: ~/w.safetensors, backbone_weights: ~/mae.pth}",
            "validation={data: ~/sets, sets: ['folder:~/own']}",
        ],
    )

    written = json.dumps(recipe.model_dump(mode="json", exclude={"validation": {"sets"}}))
    assert "~" not in written
    assert set(re.findall(r"/home/ann/(\w+)", written)) == {
        "run", "data", "cache", "p", "s", "w", "mae", "sets"
    }  # fmt: skip
    assert str(benchmark_folder("folder:~/own", None)) == "/home/ann/own"


def test_a_home_folder_that_is_not_there_is_named(minimal):
    with pytest.raises(RecipeError, match=r"data\.root: ~nobody-here/x: there is no such home"):
        load_recipe(minimal, ["data.root=~nobody-here/x"])
    with pytest.raises(DatasetError, match="~nobody-here/x: there is no such home"):
        benchmark_folder("folder:~nobody-here/x", None)


def test_rounds_are_drawn_as_ever_so_that_runs_go_on_as_they_began():
    clicks = IterativeClicks(probabilities=(0.1, 0.2, 0.3, 0.4))

    drawn = [clicks.draw_rounds(np.random.default_rng((7, step))) for step in range(12)]

    assert drawn == [3, 3, 1, 3, 1, 0, 2, 1, 3, 3, 3, 1]


def test_the_size_grows_from_stage_to_stage(minimal):
    stages = "[{epochs: 2, size: 32, batch_size: 4}, {epochs: 1, size: 64, batch_size: 4}]"

    recipe = load_recipe(minimal, [f"stages={stages}"])

    assert [recipe.size_at(samples) for samples in (0, 16, 17, 24, 99)] == [32, 32, 64, 64, 64]


def test_a_recipe_may_change_another(minimal, tmp_path):
    path = tmp_path / "changed.yaml"
    path.write_text("extends: minimal.yaml\nnetwork: {overrides: {num_cross_blocks: 0}}\n")

    recipe = load_recipe(path)

    assert recipe.network.name == "tiny"
    assert recipe.network.overrides == {"num_cross_blocks": 0}


def test_another_kind_of_augmentation_replaces_the_settings_of_the_one_before(tmp_path):
    of_boxes = "{kind: object_crop, box_scale: [1.5, 2], flip: 0.25}"
    (tmp_path / "boxes.yaml").write_text(MINIMAL.replace("{kind: object_crop}", of_boxes))
    (tmp_path / "other.yaml").write_text(
        "extends: boxes.yaml\nsampling: {augmentation: {kind: scale_and_crop, degrees: 5}}\n"
    )

    other = load_recipe(tmp_path / "other.yaml").sampling.augmentation
    same = load_recipe(
        tmp_path / "boxes.yaml", ["sampling.augmentation={kind: object_crop, degrees: 5}"]
    ).sampling.augmentation

    assert (other.kind, other.flip, other.degrees) == ("scale_and_crop", 0.5, 5)
    assert (same.kind, same.flip, same.degrees) == ("object_crop", 0.25, 5)


def test_recipes_that_extend_each_other_are_refused(tmp_path):
    (tmp_path / "a.yaml").write_text("extends: b.yaml")
    (tmp_path / "b.yaml").write_text("extends: a.yaml")

    with pytest.raises(RecipeError, match=r"a\.yaml extends itself"):
        load_recipe(tmp_path / "a.yaml")


def test_a_recipe_in_another_encoding_is_refused(tmp_path):
    (tmp_path / "a.yaml").write_text(f"# Größe\n{MINIMAL}", encoding="latin-1")

    with pytest.raises(RecipeError, match=r"a\.yaml is no text in UTF-8"):
        load_recipe(tmp_path / "a.yaml")


def test_a_missing_file_is_a_sentence(tmp_path):
    with pytest.raises(
        RecipeError, match=r"nothing\.yaml cannot be read: No such file.*directory$"
    ):
        load_recipe(tmp_path / "nothing.yaml")


def test_of_a_missing_file_it_is_said_where_the_one_of_that_name_is_shipped(tmp_path):
    missing, shipped = tmp_path / "starter.yaml", Path(training.__file__).parent / "recipes"
    (tmp_path / "mine.yaml").write_text(f"extends: {missing.name}")

    for recipe in (missing, tmp_path / "mine.yaml"):
        with pytest.raises(RecipeError) as refusal:
            load_recipe(recipe)
        place = str(refusal.value).removeprefix(
            f"the recipe {missing} cannot be read: No such file or directory;"
            " the one that is shipped is "
        )
        assert place == str(shipped / missing.name)


@pytest.mark.parametrize("path", TRAINING_RECIPES, ids=lambda path: path.stem)
def test_every_recipe_is_valid_and_opens_with_its_command(path):
    load_recipe(path)

    head = "".join(line for line in path.read_text().splitlines(True) if line.startswith("#"))
    assert f"python -m training train training/recipes/{path.name}" in head


@pytest.mark.parametrize("path", TRAINING_RECIPES, ids=lambda path: path.stem)
def test_no_milestone_waits_behind_the_end_for_a_run_that_is_prolonged(path):
    recipe = load_recipe(path)

    assert all(milestone < recipe.epochs for milestone in recipe.optimization.milestones)


def test_an_argument_names_a_home_folder_that_does_not_exist(capsys):
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=given_path)
    assert parser.parse_args(["--data=~/x"]).data == Path.home() / "x"
    with pytest.raises(SystemExit):
        parser.parse_args(["--data=~nobody-here/x"])
    assert "--data: ~nobody-here/x: there is no such home folder" in capsys.readouterr().err
