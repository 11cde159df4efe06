"""The recipe of a tiny network that learns the test's shapes."""

from training.loop.recipe import Recipe


def a_recipe(shapes, run, **changes) -> Recipe:
    values = {
        "run": run,
        # Random channels of the head fall out on each process and piece alike only if none do.
        "network": {"name": "tiny", "overrides": {"head_dropout": 0.0}},
        "data": {"root": shapes.parent, "parts": [{"path": shapes.name}], "workers": 0},
        "sampling": {"augmentation": {"kind": "object_crop"}, "clicks": {"single": 0.4}},
        "optimization": {
            "optimizer": "adamw",
            "learning_rate": 1e-3,
            "clip_grad_norm": 1.0,
            "ema": 0.9,
        },
        "epoch": 16,
        "stages": [{"epochs": 2, "size": 32, "batch_size": 8}],
        "keep": 10,
        # where the same computation gives the same bits
        "device": "cpu",
    }
    return Recipe.model_validate(values | changes)
