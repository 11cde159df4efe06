"""What every network keeps, whatever its backbone and switches."""

import re
from functools import partial

import numpy as np
import pytest
import torch

from icmformer import build_model
from icmformer.errors import InputError
from icmformer.model import ICMFormer
from icmformer.variants import variant_config

ARRANGEMENTS = [
    ("tiny", {}),
    ("tiny", {"num_cross_blocks": 0}),
    ("tiny", {"num_cross_blocks": 3}),
    ("tiny", {"cross_direction": "clicks_to_image", "num_cross_blocks": 2}),
    ("tiny", {"cross_direction": "figure_3b", "num_cross_blocks": 2}),
    ("tiny", {"share_first_group_with_clicks": False}),
    ("tiny_swin", {}),
    ("tiny_swin", {"num_cross_blocks": 0}),
    ("tiny_swin", {"num_cross_blocks": 3}),
    ("tiny_swin", {"cross_direction": "clicks_to_image", "num_cross_blocks": 2}),
    ("tiny_swin", {"cross_direction": "figure_3b", "num_cross_blocks": 2}),
]
BACKBONES = ("tiny", "tiny_swin")


@pytest.fixture(params=ARRANGEMENTS, ids=str)
def model(request):
    torch.manual_seed(0)
    name, overrides = request.param
    return build_model(name, **overrides).eval()


def some_inputs(height=64, width=64, batch=2):
    generator = torch.Generator().manual_seed(1)
    image = torch.rand(batch, 3, height, width, generator=generator)
    previous = torch.rand(batch, 1, height, width, generator=generator)
    clicks = (torch.rand(batch, 2, height, width, generator=generator) > 0.95).float()
    return image, clicks, previous


def test_forward_is_encode_image_then_fuse_bit_for_bit(model):
    image, clicks, previous = some_inputs()

    with torch.no_grad():
        kept = model.encode_image(image)
        model.fuse(kept, clicks.flip(1), previous.flip(2))  # another click in between
        logits = model.fuse(kept, clicks, previous)
        expected = model(image, clicks, previous)

    assert torch.equal(logits, expected)


def test_training_and_answering_compute_the_same(model):
    """Kernels may differ between them, and with them the last digits."""
    inputs = some_inputs()

    with torch.no_grad():
        answered = model(*inputs)

    torch.testing.assert_close(answered, model(*inputs).detach())


def test_every_input_matters(model):
    image, clicks, previous = some_inputs()
    logits = model(image, clicks, previous)

    assert logits.shape == (2, 1, 64, 64)
    assert not torch.equal(logits, model(image.flip(2), clicks, previous))
    assert not torch.equal(logits, model(image, clicks, previous.flip(2)))
    assert not torch.equal(logits, model(image, clicks.flip(1), previous))


def test_every_parameter_learns(model):
    model.train()
    image, clicks, previous = some_inputs()

    model(image, clicks, previous).square().sum().backward()

    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_samples_of_a_batch_do_not_touch_each_other(model):
    image, clicks, previous = some_inputs()

    together = model(image, clicks, previous)

    for index in range(2):
        one = slice(index, index + 1)
        alone = model(image[one], clicks[one], previous[one])
        torch.testing.assert_close(together[one], alone, rtol=0, atol=1e-5)


def test_clicks_on_several_objects_share_the_features_of_their_image(model):
    image, clicks, previous = some_inputs(batch=3)
    image = image[:1]

    with torch.no_grad():
        together = model.fuse(model.encode_image(image), clicks, previous)
        one_by_one = model(image.expand(3, -1, -1, -1), clicks, previous)

    torch.testing.assert_close(together, one_by_one, rtol=0, atol=1e-5)


def test_clicks_of_another_number_of_images_are_refused(model):
    image, clicks, previous = some_inputs(batch=3)
    features = model.encode_image(image[:2])

    for count in (1, 3):
        with pytest.raises(InputError, match=f"{count} images of clicks .* features of 2 images"):
            model.fuse(features, clicks[:count], previous[:count])
    with pytest.raises(InputError, match="2 images of clicks do not fit 1 previous masks"):
        model.fuse(features, clicks[:2], previous[:1])


@pytest.mark.parametrize("name", BACKBONES)
def test_bf16_autocast_stays_close_and_yields_float32(name):
    model = build_model(name).eval()
    inputs = some_inputs()
    exact = model(*inputs)

    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(*inputs)
        kept = model.fuse(model.encode_image(inputs[0]), *inputs[1:])

    assert logits.dtype == torch.float32
    assert torch.equal(logits, kept)
    assert (logits - exact).abs().max() < 0.1 * exact.abs().max()


@pytest.mark.cuda
@pytest.mark.parametrize("name", BACKBONES)
def test_cuda_agrees_with_the_cpu(name):
    model = build_model(name).eval()
    inputs = some_inputs()
    expected = model(*inputs)

    # Convolutions on a GPU round to TF32 unless told otherwise.
    with torch.backends.cudnn.flags(allow_tf32=False):
        logits = model.cuda()(*(tensor.cuda() for tensor in inputs))

    torch.testing.assert_close(logits.cpu(), expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize("size", [(1, 1), (3, 130), (37, 61), (64, 100), (129, 7)])
def test_swin_takes_any_size(size):
    model = build_model("tiny_swin").eval()

    assert model(*some_inputs(*size)).shape == (2, 1, *size)


@pytest.mark.parametrize("size", [(32, 32), (64, 96), (160, 32), (40, 56)])
def test_a_plain_vit_takes_sizes_that_divide_into_windows(size):
    model = build_model("tiny").eval()

    assert model(*some_inputs(*size)).shape == (2, 1, *size)


@pytest.mark.parametrize("size", [(63, 64), (64, 24), (72, 64)])
def test_a_plain_vit_says_which_sizes_it_takes(size):
    with pytest.raises(InputError, match=r"multiples of 32 pixels, such as 64"):
        build_model("tiny").encode_image(some_inputs(*size)[0])


@pytest.mark.parametrize("shape", [(3, 64, 64), (1, 1, 64, 64), (1, 64, 64, 3), (1, 4, 64, 64)])
def test_images_of_another_shape_are_refused(shape):
    with pytest.raises(InputError, match=rf"\(batch, 3, .*these have {re.escape(str(shape))}"):
        build_model("tiny").encode_image(torch.rand(shape))


def test_bytes_are_refused_as_an_image():
    image, clicks, previous = some_inputs()

    with pytest.raises(
        InputError, match=r"in \[0, 1\], these are torch.uint8; divide bytes by 255"
    ):
        build_model("tiny")((255 * image).to(torch.uint8), clicks, previous)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_images_of_the_networks_own_precision_are_taken(dtype):
    model = build_model("tiny_swin").to(dtype).eval()

    assert model(*(tensor.to(dtype) for tensor in some_inputs())).isfinite().all()


@pytest.mark.parametrize("name", BACKBONES)
def test_images_and_maps_of_another_precision_are_those_numbers(name):
    model = build_model(name).eval()
    image, clicks, previous = some_inputs()
    previous = previous.round()
    expected = model(image, clicks, previous)

    assert torch.equal(model(image.double(), clicks.double(), previous.double()), expected)
    assert torch.equal(model(image, clicks.bool(), previous.bool()), expected)


def test_arrays_are_refused_where_tensors_are_needed():
    model = build_model("tiny")
    image, clicks, previous = some_inputs()

    with pytest.raises(InputError, match="images need to be a tensor of torch, not a ndarray"):
        model.encode_image(image.numpy())
    for maps in ((clicks.tolist(), previous), (clicks, previous.numpy())):
        with pytest.raises(InputError, match="need to be a tensor of torch, not a"):
            model.fuse(model.encode_image(image), *maps)


def test_maps_of_another_size_than_the_image_are_refused():
    model = build_model("tiny_swin")
    features = model.encode_image(some_inputs(64, 64)[0])
    _, clicks, previous = some_inputs(64, 32)

    with pytest.raises(InputError, match=r"of \(64, 64\) pixels .* not \(2, 2, 64, 32\)"):
        model.fuse(features, clicks, previous)


def test_maps_that_are_mixed_up_are_refused():
    model = build_model("tiny")
    image, clicks, previous = some_inputs()

    for call in (lambda *maps: model(image, *maps), partial(model.fuse, model.encode_image(image))):
        with pytest.raises(InputError, match=r"click maps .* \(batch, 2, .* \(2, 1, 64, 64\)"):
            call(previous, clicks)
        with pytest.raises(InputError, match=r"previous masks .* \(batch, 1, .* \(2, 64, 64\)"):
            call(clicks, previous[:, 0])


def test_features_of_another_backbone_are_refused():
    image, clicks, previous = some_inputs()

    with pytest.raises(InputError, match="without stages"):
        build_model("tiny_swin").fuse(build_model("tiny").encode_image(image), clicks, previous)


def test_features_know_their_size_and_pass_gradients_on():
    model = build_model("tiny_swin", num_cross_blocks=2)
    image, clicks, previous = some_inputs(batch=1)

    features = model.encode_image(image)

    # 16 × 16 patches of 16 channels; X and two pairs of K, V: 4 × 4 positions of 64 channels
    assert features.nbytes == 4 * (16 * 16 * 16 + 5 * 4 * 4 * 64)
    assert features.tokens.requires_grad
    assert model.fuse(features, clicks, previous).requires_grad


@pytest.mark.parametrize("direction", ["clicks_to_image", "figure_3b"])
def test_where_the_clicks_guide_the_image_nothing_but_the_image_stream_is_kept(direction):
    model = build_model("tiny", cross_direction=direction, num_cross_blocks=2)

    features = model.encode_image(some_inputs()[0])

    assert features.keys_values == ()


def test_clicks_are_drawn_with_the_radius_of_the_model():
    model = build_model("tiny", click_radius=1)

    maps = model.click_maps(
        torch.tensor([[3.0, 4.0]]).numpy(), torch.tensor([True]).numpy(), (8, 8)
    )

    assert maps.sum() == 5


def test_the_predictor_s_clicks_look_like_those_of_training():
    class Inverse(ICMFormer):
        def click_maps_of_batch(self, positions, size_hw):
            return 1 - super().click_maps_of_batch(positions, size_hw)

    tiny = variant_config("tiny")
    places, positive = np.array([[3.0, 4.0], [1.5, 7.0], [6.0, 0.0]]), np.array([True, False, True])

    maps, inverse = (
        kind(tiny).click_maps(places, positive, (8, 8)) for kind in (ICMFormer, Inverse)
    )

    assert 0 < maps.sum() < maps.numel()
    assert torch.equal(inverse, 1 - maps)
