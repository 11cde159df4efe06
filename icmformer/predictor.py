"""Clicks on an image in, mask out."""

from collections.abc import Iterable
from dataclasses import replace
from typing import cast, get_args

import numpy as np
import torch

from icmformer.box import Box
from icmformer.checked_input import check_box, check_previous, image_fingerprint, image_size
from icmformer.checked_parts import check_network, check_weights, check_zoom
from icmformer.click_network import ClickNetwork
from icmformer.clicks import Click
from icmformer.errors import ConfigError, InputError
from icmformer.first_click import fills_much, is_clearer, is_cut_off, not_too_large, stands_out
from icmformer.guided_filter import following_edges
from icmformer.image_features import ImageFeatures
from icmformer.local_refinement import blend_in
from icmformer.look import Look
from icmformer.network_input import click_planes, image_planes, mask_plane, on_image, pixels_of
from icmformer.placed_clicks import PlacedClicks
from icmformer.precision import Precision, autocast, computes_in_bf16
from icmformer.region_of_interest import RegionOfInterest, View
from icmformer.repeated_zoom_in import RepeatedZoomIn
from icmformer.segmentation import AnsweringNetwork, CropFeatures, Segmentation
from icmformer.specialised import Specialised
from icmformer.tidy_mask import obey_clicks, pixels_in_view, take_back_far_changes, without_specks
from icmformer.zoom_in import ZoomIn

# The second click still says which object is meant, unless a mask does; the ones after it correct.
_CLICKS_TO_FIND_THE_OBJECT = 2


class Predictor:
    """Turns clicks into masks with a network; stateless, so threads may share one.

    Of a specialised network it uses, on each image, the one of the two that fits it.

    A result is a function of image, clicks and what it began with: nothing, a mask or a box. Pass i
    of the network reads clicks 1 to i and the probability of pass i - 1, so clicks are replayed in
    order; a `previous` segmentation only saves the passes that it already holds, unless it began
    with a mask or a box. Unless told otherwise, it answers as people are served.
    """

    def __init__(
        self,
        model: ClickNetwork,
        *,
        zoom_in: ZoomIn | RepeatedZoomIn | None = None,
        flip: bool = False,
        precision: Precision = "auto",
        at_home: bool = False,
    ) -> None:
        """Wrap a network, which is switched to inference and must not be changed afterwards.

        Args:
            model: the network, on the device on which to compute.
            zoom_in: what the network looks at; repeated zoom-in at its own size by default. Unless
                it is as published, outlines follow the image's edges, specks are cleared away,
                every click is obeyed, what the first one found is looked for closer if need be and
                cut down to the part it is on, and from the third one on (on a given mask from the
                first) the mask changes near it only, seen in a close-up; see
                `icmformer.guided_filter`, `icmformer.first_click` and `icmformer.tidy_mask`.
            flip: average the logits with those of the mirrored image, at twice the cost.
            precision: see `icmformer.precision.autocast`.
            at_home: whether all images are of what a specialised network was fine-tuned for, as a
                project's are: objects are then as large as it learned also where the other answers.

        Raises:
            ConfigError: if the model is no network, `zoom_in` no zoom or of a size that the network
                cannot work with, the precision is unknown, or the weights do not go with it.
        """
        check_network(model)
        if precision not in get_args(Precision):
            known = ", ".join(get_args(Precision))
            raise ConfigError(f"precision {precision!r} is unknown: use one of {known}")
        model.eval()
        self._model = model
        self._device = next(iter(model.parameters())).device
        check_weights(model, computes_in_bf16(precision, self._device))
        self._zoom = RepeatedZoomIn(model.input_size) if zoom_in is None else zoom_in
        check_zoom(self._zoom, model)
        self._flip = flip
        self._precision = precision
        self._at_home = at_home
        self._tidy = not self._zoom.as_published
        self._first, self._elsewhere = AnsweringNetwork(), AnsweringNetwork(is_generalist=True)
        self._networks: dict[AnsweringNetwork | None, ClickNetwork] = {self._first: model}
        if isinstance(model, Specialised):
            self._networks[self._elsewhere] = model.generalist

    @classmethod
    def for_benchmark(
        cls, model: ClickNetwork, input_size: tuple[int, int] | None = None
    ) -> "Predictor":
        """Return a predictor that follows the published protocol: fixed size, flip, fp32.

        Args:
            model: the network.
            input_size: height and width of the network's input; the network's own by default. The
                paper uses (448, 448), and (672, 672) for DAVIS.

        Raises:
            ConfigError: if the model is no network, or the size is not two whole numbers of at
                least 1 that the network can work with.
        """
        check_network(model)
        zoom_in = ZoomIn(model.input_size if input_size is None else input_size)
        return cls(model, zoom_in=zoom_in, flip=True, precision="fp32")

    def encode(self, image: np.ndarray, previous: Segmentation | None = None) -> Segmentation:
        """Return what several objects on one image may start from: a mask of nothing, or one given.

        It holds the features of the whole image, where the first click on an object looks that has
        no mask yet, so they are not computed again for every object. (Of a panorama that is served
        it holds none, or those by which the network was chosen; where objects are known to be
        small, clicks look at windows.)

        Args:
            image: as for `segment`, and the same.
            previous: a mask to start from (`Segmentation.from_mask`), or what this returned for the
                image before, also of another predictor; it is returned itself if it will do.

        Raises:
            InputError: if the image is not as described there, or `previous` is of another one or
                has clicks.
        """
        image_hw, fingerprint = image_size(image), image_fingerprint(image)
        start = Segmentation.empty(image_hw) if previous is None else previous
        check_previous(start, (), image_hw, fingerprint)
        if start.image_fingerprint is None:
            start = replace(start, image_fingerprint=fingerprint)
        with torch.inference_mode(), autocast(self._precision, self._device):
            begun = self._begun(image, start)
            if not self._zoom.begins_with_whole(image_hw):
                return begun
            view = self._view(RegionOfInterest.whole(image_hw), image_hw)
            features = self._features(image, view, begun)
            return begun if features is begun.features else replace(begun, features=features)

    def knows(self, image: np.ndarray) -> bool:
        """Say whether the network itself answers on an image.

        A specialised one leaves images that are unlike those it learned to the network that it
        came from.

        Args:
            image: as for `segment`.

        Raises:
            InputError: if the image is not as described there.
        """
        empty = Segmentation.empty(image_size(image))
        with torch.inference_mode(), autocast(self._precision, self._device):
            return not self._begun(image, empty).is_by_generalist

    def segment(
        self, image: np.ndarray, clicks: Iterable[Click], previous: Segmentation | None = None
    ) -> Segmentation:
        """Segment the object that the clicks describe.

        Args:
            image: (H, W, 3) uint8 RGB, upright, of any size.
            clicks: all clicks in order, in pixels of the image. None at all gives an empty mask,
                or the one to start from.
            previous: the result for the first few of these clicks on the same image, the encoded
                image (`encode`), or a mask to start from (`Segmentation.from_mask`).

        Raises:
            InputError: if the image is not as described, a click is no `Click`, is not a finite
                number or lies more than a pixel outside, or `previous` is no `Segmentation` or
                belongs to other clicks, another image or another size.
        """
        image_hw = image_size(image)
        if not isinstance(clicks, Iterable):
            raise InputError(f"clicks need to be a list, this is a {type(clicks).__name__}")
        clicks = tuple(clicks)
        placed = PlacedClicks.on_image(clicks, image_hw)
        result = Segmentation.empty(image_hw) if previous is None else previous
        fingerprint = image_fingerprint(image)
        check_previous(result, clicks, image_hw, fingerprint)
        with torch.inference_mode(), autocast(self._precision, self._device):
            if len(clicks) > len(result.clicks):
                result = self._begun(image, result)
            for count in range(len(result.clicks) + 1, len(clicks) + 1):
                result = self._click(image, placed.first(count), result)
                result = replace(result, clicks=clicks[:count], image_fingerprint=fingerprint)
        return result

    def segment_box(
        self, image: np.ndarray, box: Box, previous: Segmentation | None = None
    ) -> Segmentation:
        """Segment the object that a box was drawn around; its mask stays within.

        The network reads all clicks of the box at once, twice, where the box is. Further clicks go
        on from there: `segment(image, [*box.clicks(), click], previous=result)`. Without `previous`
        the same clicks would be answered one after the other, and often mean another object.

        Args:
            image: as for `segment`.
            box: in pixels of the image.
            previous: as for `segment`, without clicks. The encoded image saves time only where the
                network is a specialised one, which looks at the whole image to be chosen.

        Raises:
            InputError: if the image is not as described, the box is no `Box` or lies more than a
                pixel outside, or `previous` belongs to clicks, another image or another size.
        """
        image_hw, fingerprint = image_size(image), image_fingerprint(image)
        check_box(box, image_hw)
        clicks = box.clicks()
        placed = PlacedClicks.on_image(clicks, image_hw)
        inside = box.mask(image_hw).astype(np.float32)
        result = Segmentation.empty(image_hw) if previous is None else previous
        check_previous(result, (), image_hw, fingerprint)
        with torch.inference_mode(), autocast(self._precision, self._device):
            result = self._begun(image, result)
            region = self._zoom.region(inside, placed, None)
            look = self._look(image, placed, region, result)
            look.probability[:] *= inside
            # It reads what the first one found; further ones change little.
            look = self._look(image, placed, region, look)
            look.probability[:] *= inside
        return replace(look.as_answer(result), clicks=clicks, image_fingerprint=fingerprint)

    def _begun(self, image: np.ndarray, before: Segmentation) -> Segmentation:
        """Choose the network that answers on an image, unless it is."""
        if before.network in self._networks:
            return before
        begun = replace(before, network=self._first, features=None)
        if not isinstance(self._model, Specialised):
            return begun
        # As its examples were seen, whatever the zoom.
        whole = View.of_whole(_size_hw(image), self._model.input_size)
        features = self._features(image, whole, begun)
        if self._model.knows(cast("ImageFeatures", features.features)):
            return replace(begun, features=features)
        return replace(begun, network=self._elsewhere)

    def _click(self, image: np.ndarray, clicks: PlacedClicks, before: Segmentation) -> Segmentation:
        """Answer the last click: as published with one look, and for people with several."""
        zoom, image_hw = self._zoom, _size_hw(image)
        region = zoom.region(before.probability, clicks, before.region)
        if isinstance(zoom, ZoomIn):
            return self._look(image, clicks, region, before).as_answer(before)
        is_new = len(clicks) == 1 and bool(clicks.positive[0]) and not before.is_given
        if is_new:
            windows = [region, *zoom.closer_windows(clicks.pixels[0], region, image_hw)]
            look = self._found(image, clicks, before, windows)
        else:
            look = self._look(image, clicks, region, before)
        for _ in range(zoom.looks - 1):
            next_region = zoom.look_again(look.probability, clicks, look.region)
            if next_region is None:
                break
            look = self._look(image, clicks, next_region, look)
        if before.is_given or len(clicks) > _CLICKS_TO_FIND_THE_OBJECT:
            window = zoom.refinement_window(clicks.pixels[-1], look.region, image_hw)
            self._correct(image, clicks, before, look, window)
        elif is_new:
            # One place is said, so one part is meant: what else looks like it is left alone.
            self._leave_alone(before, look, clicks, look.region)
        return look.as_answer(before)

    def _found(
        self,
        image: np.ndarray,
        clicks: PlacedClicks,
        before: Segmentation,
        windows: list[RegionOfInterest],
    ) -> Look:
        """Look at what a first click is on, closer if it does not stand out.

        Where it is known how large objects are, that says where to begin, unless the answer there
        is larger; and a closer look follows even if it stands out: what a network has learned
        stands out to it in hundreds, too.
        """
        if isinstance(self._model, Specialised) and (self._at_home or not before.is_by_generalist):
            fitting = not_too_large(windows, float(self._model.object_side))
            if len(fitting) < len(windows):
                found = self._answer(image, clicks, fitting[0], before)
                if not fills_much(found.probability, fitting[0]):
                    return self._closer(image, clicks, before, found, fitting[1:])
        found = self._answer(image, clicks, windows[0], before)
        if stands_out(found.probability, windows[0]):
            return self._obeying(found, clicks)
        return self._closer(image, clicks, before, found, windows[1:])

    def _closer(
        self,
        image: np.ndarray,
        clicks: PlacedClicks,
        before: Segmentation,
        found: Look,
        windows: list[RegionOfInterest],
    ) -> Look:
        """Look at ever smaller windows as long as what was found stands out more there."""
        for window in windows:
            closer = self._answer(image, clicks, window, before)
            if is_clearer(closer.probability, window, found.probability, found.region):
                if is_cut_off(closer.probability, window):
                    break  # it is larger than that
                found = closer
            elif stands_out(found.probability, found.region):
                break  # as clearly as it will
        return self._obeying(found, clicks)

    def _correct(
        self,
        image: np.ndarray,
        clicks: PlacedClicks,
        before: Segmentation,
        look: Look,
        window: RegionOfInterest | None,
    ) -> None:
        """Keep what the last click corrected near it, and look closely at that in a window."""
        self._leave_alone(before, look, clicks, look.region)
        if window is not None:
            close = self._look(image, clicks, window, look)
            blend_in(look.probability, close.probability, window)
            self._leave_alone(before, look, clicks, window)

    def _leave_alone(
        self, before: Segmentation, look: Look, clicks: PlacedClicks, region: RegionOfInterest
    ) -> None:
        """Take back what a look changed far from the last click, as seen in a region."""
        view = self._view(region, _size_hw(look.probability))
        take_back_far_changes(before.probability, look.probability, clicks.pixels[-1], view)

    def _view(self, region: RegionOfInterest, image_hw: tuple[int, int]) -> View:
        return View(image_hw, region, self._zoom.input_size, self._zoom.as_published)

    def _look(
        self,
        image: np.ndarray,
        clicks: PlacedClicks,
        region: RegionOfInterest,
        before: Segmentation | Look,
    ) -> Look:
        """Run the network once, and have its answer obey the clicks."""
        return self._obeying(self._answer(image, clicks, region, before), clicks)

    def _answer(
        self,
        image: np.ndarray,
        clicks: PlacedClicks,
        region: RegionOfInterest,
        before: Segmentation | Look,
    ) -> Look:
        """Run the network once."""
        view = self._view(region, _size_hw(image))
        features = self._features(image, view, before)
        versions = (False, True) if self._flip else (False,)
        network = self._networks[before.network]
        maps = [click_planes(network.click_maps, clicks, view, mirror) for mirror in versions]
        logits = network.fuse(
            features.features,
            torch.cat(maps).to(self._device),
            self._with_mirrored(mask_plane(before.probability, view, self._device)),
        ).float()
        if self._flip:
            logits = 0.5 * (logits[:1] + logits[1:].flip(3))
        probability = self._on_image(torch.sigmoid(logits), clicks, features)
        return Look(probability, region, before.network, features)

    def _obeying(self, look: Look, clicks: PlacedClicks) -> Look:
        """Correct an answer around the clicks that it contradicts, by what was seen."""
        if self._tidy:
            view = self._view(look.region, _size_hw(look.probability))
            obey_clicks(look.probability, clicks, view)
        return look

    def _features(self, image: np.ndarray, view: View, before: Segmentation | Look) -> CropFeatures:
        """Encode what is seen, unless what was before brings just these features."""
        known = before.features
        if known and known.view == view:
            return known
        planes = image_planes(image, view, self._device)
        features = self._networks[before.network].encode_image(self._with_mirrored(planes))
        return CropFeatures(view, features, pixels_of(planes) if self._tidy else None)

    def _with_mirrored(self, planes: torch.Tensor) -> torch.Tensor:
        return torch.cat([planes, planes.flip(3)]) if self._flip else planes

    def _on_image(
        self, probability: torch.Tensor, clicks: PlacedClicks, seen: CropFeatures
    ) -> np.ndarray:
        """Put (1, 1, h, w) probabilities back to where they belong, tidied for people."""
        view = seen.view
        if seen.image is not None:
            pixels, positive = pixels_in_view(clicks, view)
            sharp = following_edges(probability[0, 0].cpu().numpy(), seen.image)
            probability = torch.from_numpy(without_specks(sharp, pixels, positive))[None, None]
        return on_image(probability, view)


def _size_hw(image: np.ndarray) -> tuple[int, int]:
    return image.shape[0], image.shape[1]
