import contextlib
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from label_studio_sdk.converter import brush as sdk

from ml_backend.errors import BrushRLEError
from ml_backend.label_studio import brush_rle
from tests.ml_backend.label_studio_requests import FIXTURES, recorded

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def sdk_alpha(rle, shape):
    return sdk.decode_rle(rle).reshape(*shape, 4)[..., 3]


def ragged(height, width, seed=0):
    """A disc with holes and a torn rim: runs of every length."""
    rows, columns = np.mgrid[:height, :width]
    distance = np.hypot((rows - height / 2) / height, (columns - width / 2) / width)
    return distance + np.random.default_rng(seed).normal(0, 0.05, (height, width)) < 0.35


def disc(height, width):
    rows, columns = np.mgrid[:height, :width]
    return np.hypot(rows - height / 3, columns - width / 2) < min(height, width) / 3


def write_stream(words, runs, *, word_bits=8, widths=(3, 4, 8, 16)):
    """Write a stream by hand; a run is (choice of width, literal words or (word, count))."""
    text = f"{words:032b}{word_bits - 1:05b}" + "".join(f"{width - 1:04b}" for width in widths)
    for choice, run in runs:
        repeated = isinstance(run, tuple)
        count = run[1] if repeated else len(run)
        values = [run[0]] if repeated else run
        text += f"{int(repeated)}{choice:02b}{count - 1:0{widths[choice]}b}"
        text += "".join(f"{value:0{word_bits}b}" for value in values)
    text += "0" * (-len(text) % 8)
    return [int(text[start : start + 8], 2) for start in range(0, len(text), 8)]


def expand(runs):
    words = []
    for _, run in runs:
        words += [run[0]] * run[1] if isinstance(run, tuple) else run
    return words


@pytest.mark.parametrize(
    "mask",
    [
        np.zeros((1, 1), bool),
        np.ones((1, 1), bool),
        np.zeros((7, 5), bool),
        np.ones((7, 5), bool),
        np.eye(9, dtype=bool),
        np.ones((300, 300), bool),  # longer than the longest run a stream can write in one piece
        np.ones((128, 128), bool),  # exactly the longest run
        np.ones((5, 3277), bool),  # one pixel longer than that
        ragged(17, 1),
        ragged(1, 33),
        ragged(321, 481),
        disc(321, 481),
        np.random.default_rng(1).random((75, 101)) < 0.5,
    ],
    ids=lambda mask: "x".join(map(str, mask.shape)) + f"-{int(mask.sum())}",
)
def test_label_studios_own_code_reads_and_writes_the_same(mask):
    encoded = brush_rle.encode(mask)
    theirs = sdk.mask2rle(mask.astype(np.uint8) * 255)
    # The SDK appends a whole zero byte when the bits already fill the last one.
    assert theirs[: len(encoded)] == encoded
    assert theirs[len(encoded) :] in ([], [0])
    assert set(np.unique(sdk_alpha(encoded, mask.shape))) <= {0, 255}
    np.testing.assert_array_equal(sdk_alpha(encoded, mask.shape) == 255, mask)
    np.testing.assert_array_equal(brush_rle.decode(theirs, mask.shape), mask)
    np.testing.assert_array_equal(brush_rle.decode(encoded, mask.shape), mask)


@given(masks)
def test_any_mask_survives_both_codecs(mask):
    encoded = brush_rle.encode(mask)
    np.testing.assert_array_equal(brush_rle.decode(encoded, mask.shape), mask)
    np.testing.assert_array_equal(sdk_alpha(encoded, mask.shape) > 127, mask)


@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12), st.just(4))))
def test_anti_aliased_channels_and_literal_words_decode_as_the_sdk_decodes_them(image):
    rle = sdk.encode_rle(image.ravel())
    np.testing.assert_array_equal(
        brush_rle.decode(rle, image.shape[:2]), sdk_alpha(rle, image.shape[:2]) > 127
    )


@pytest.mark.parametrize(("alpha", "belongs"), [(1, 0), (127, 0), (128, 1), (254, 1)])
@pytest.mark.parametrize("repeated", [True, False], ids=["a run", "literal words"])
def test_from_128_on_a_pixel_of_a_rim_belongs_to_the_mask(alpha, belongs, repeated):
    run = (alpha, 8) if repeated else [alpha] * 8
    rle = write_stream(8, [(2, run)])
    np.testing.assert_array_equal(brush_rle.decode(rle, (1, 2)), [[belongs, belongs]])


@settings(max_examples=50)
@given(st.data())
def test_every_legal_stream_decodes(data):
    word_bits = data.draw(st.integers(1, 32))
    widths = data.draw(st.tuples(*[st.integers(1, 16)] * 4))
    values = st.integers(0, 2**word_bits - 1)
    words, runs = data.draw(st.integers(1, 300)) * 4, []
    while (left := words - len(expand(runs))) > 0:
        choice = data.draw(st.integers(0, 3))
        count = data.draw(st.integers(1, min(left, 2 ** widths[choice])))
        literal = data.draw(st.booleans())
        runs.append(
            (
                choice,
                data.draw(st.lists(values, min_size=count, max_size=count))
                if literal
                else (data.draw(values), count),
            )
        )
    rle = write_stream(words, runs, word_bits=word_bits, widths=widths)
    expected = np.array(expand(runs)).reshape(1, -1, 4)[..., 3] > 127
    np.testing.assert_array_equal(brush_rle.decode(rle, expected.shape), expected)


@given(st.binary(max_size=60), st.integers(1, 6), st.integers(1, 6))
def test_random_bytes_give_a_mask_or_a_sentence(tail, height, width):
    rle = [*(height * width * 4).to_bytes(4, "big"), *tail]
    with contextlib.suppress(BrushRLEError):
        assert brush_rle.decode(rle, (height, width)).shape == (height, width)


@pytest.mark.parametrize("mask", [disc(3000, 4000), ragged(3000, 4000)], ids=["disc", "ragged"])
def test_twelve_megapixels(mask):
    encoded = brush_rle.encode(mask)
    np.testing.assert_array_equal(brush_rle.decode(encoded, mask.shape), mask)


def test_streams_of_several_chunks():
    # 1100 x 1100 pixels of noise are about 8 million bits, more than is decoded at once.
    mask = np.random.default_rng(2).random((1100, 1100)) < 0.5
    encoded = brush_rle.encode(mask)
    assert len(encoded) * 8 > brush_rle._CHUNK_BITS // 2
    np.testing.assert_array_equal(brush_rle.decode(encoded, mask.shape), mask)
    values = np.random.default_rng(3).integers(0, 256, (400, 500, 4), dtype=np.uint8).ravel()
    runs = [(3, values[start : start + 65536].tolist()) for start in range(0, values.size, 65536)]
    literal = write_stream(values.size, runs)
    np.testing.assert_array_equal(
        brush_rle.decode(literal, (400, 500)), values.reshape(400, 500, 4)[..., 3] > 127
    )


def test_a_stroke_painted_in_the_editor():
    region = json.loads((FIXTURES / "result_manual_brush_stroke.json").read_text())
    alpha = sdk_alpha(region["value"]["rle"], (321, 481))
    assert len(np.unique(alpha)) > 10, "the rim of this stroke is anti-aliased"
    mask = brush_rle.decode(region["value"]["rle"], (321, 481))
    np.testing.assert_array_equal(mask, alpha > 127)
    np.testing.assert_array_equal(brush_rle.decode(brush_rle.encode(mask), (321, 481)), mask)


def test_an_accepted_mask_from_a_webhook_comes_back_byte_for_byte():
    body = recorded("webhook_ANNOTATION_CREATED_full")
    regions = [item for item in body["annotation"]["result"] if item["type"] == "brushlabels"]
    assert regions
    for region in regions:
        size_hw = region["original_height"], region["original_width"]
        rle = region["value"]["rle"]
        mask = brush_rle.decode(rle, size_hw)
        np.testing.assert_array_equal(mask, sdk_alpha(rle, size_hw) > 127)
        encoded = brush_rle.encode(mask)
        assert rle[: len(encoded)] == encoded


def test_bytes_after_the_last_run_are_ignored():
    mask = ragged(20, 30)
    rle = [*brush_rle.encode(mask), 0, 255, 17]
    np.testing.assert_array_equal(brush_rle.decode(rle, mask.shape), mask)


@pytest.mark.parametrize(
    ("rle", "sentence"),
    [
        ([], "ends inside its header"),
        ([0, 0, 0, 4, 57, 27], "ends inside its header"),
        (brush_rle.encode(np.ones((4, 6), bool)), "holds 96 values"),
        (brush_rle.encode(ragged(4, 5))[:-2], "cut short"),
        (write_stream(80, [(2, (255, 81))]), "hold more than"),
        (write_stream(80, [(3, (255, 79)), (0, [1, 2])]), "hold more than"),
        (write_stream(80, [(2, [255] * 80)])[:-1], "cut short"),
        ([0, 0, 0, 80, 57, 27, 255, 256], "outside 0 to 255"),
        ([0, 0, 0, 80, 57, 27, 255, -1], "outside 0 to 255"),
        ([0, 0, 0, 80, 57, 27, 255, 10**30], "flat list"),
        ([0, 0, 0, 80, 57, 27, 255, 1.5], "flat list"),
        ([0, 9, 108, 132, 57, 27, 255, "… 322 ints"], "flat list"),
        ([[0, 0], [0, 80]] * 9, "flat list"),
        ([[0], [0, 80]] * 9, "flat list"),
        ([True] * 9, "flat list"),
        ([None] * 9, "flat list"),
        ("0123456789", "flat list"),
    ],
)
def test_what_is_not_a_mask_of_this_size_is_refused_in_a_sentence(rle, sentence):
    with pytest.raises(BrushRLEError, match=sentence):
        brush_rle.decode(rle, (4, 5))


@pytest.mark.parametrize(
    "mask",
    [
        np.full((4, 5), 0.1),
        np.full((4, 5), np.nan),
        np.ones((4, 5), np.uint8),
        np.full((4, 5), None),
        np.ones((1, 4, 5), bool),
        np.ones(5, bool),
        np.ones((0, 5), bool),
    ],
    ids=lambda mask: f"{mask.dtype} {mask.shape}",
)
def test_what_is_no_mask_is_not_written(mask):
    with pytest.raises(
        BrushRLEError, match=rf"not from {mask.dtype} of .*{re.escape(str(mask.shape))}"
    ):
        brush_rle.encode(mask)
