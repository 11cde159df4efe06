"""The forward pass of training: the network answers, is corrected a few times, answers again."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from icmformer import ICMFormer
from icmformer.image_features import ImageFeatures
from training.clicks.initial_clicks import EMPTY
from training.clicks.iterative_clicks import Placement, add_click, find_corrections, place_click


class Answer(NamedTuple):
    """The network's last answer, and what it saw.

    Attributes:
        logits: (B, 1, H, W).
        click_maps: (B, 2, H, W) in {0, 1}, positive then negative.
        previous_mask: (B, 1, H, W) probabilities of the answer before; zeros if there was none.
    """

    logits: torch.Tensor
    click_maps: torch.Tensor
    previous_mask: torch.Tensor


class ClickTraining(nn.Module):
    """Wraps a network so that one forward pass is one step of iterative training (section 3.3).

    Being a module, it can be wrapped for several devices as a whole: gradients of the last pass
    are exchanged, the passes before it need none.

    Args:
        model: the network.
        placement: of iterative clicks.
        seed: of iterative clicks; they depend on it and on the sample's number alone.
    """

    def __init__(self, model: ICMFormer, placement: Placement, seed: int) -> None:
        super().__init__()
        self.model = model
        self._placement: Placement = placement
        self._seed = seed

    def forward(
        self,
        images: torch.Tensor,
        labels: torch.Tensor,
        slots: torch.Tensor,
        indices: Sequence[int],
        rounds: int,
    ) -> Answer:
        """Return the last of `rounds` + 1 answers.

        Args:
            images: (B, 3, H, W) uint8 RGB, on the device.
            labels: (B, 1, H, W) int8; clicks are found on the CPU, wherever it lies.
            slots: (B, 2, P, 2) int16 first clicks; iterative clicks are written into a copy.
            indices: of the samples.
            rounds: iterative clicks of each sample.
        """
        image = images.float() / 255
        features = self.model.encode_image(image)
        previous = torch.zeros_like(image[:, :1])
        if rounds:
            # A wrapper for several GPUs moves whatever it is given to its own.
            labels, slots = labels.cpu(), slots.cpu().clone()
            known = self._features_in_eval_mode(image, features)
            for number in range(1, rounds + 1):
                previous = self._answer(known, slots, previous)
                self._click(previous, labels, slots, indices, number)
        maps = self._maps(slots, image)
        return Answer(self.model.fuse(features, maps, previous), maps, previous)

    @torch.no_grad()
    def _features_in_eval_mode(self, image: torch.Tensor, features: ImageFeatures) -> ImageFeatures:
        """Return the image's features as evaluation computes them: the same, unless random."""
        if not self.model.config.drop_path or not self.model.training:
            return features
        self.model.eval()
        found = self.model.encode_image(image)
        self.model.train()
        return found

    @torch.no_grad()
    def _answer(
        self, features: ImageFeatures, slots: torch.Tensor, previous: torch.Tensor
    ) -> torch.Tensor:
        """Return the probabilities (B, 1, H, W) of the network in evaluation mode."""
        training = self.model.training
        self.model.eval()
        logits = self.model.fuse(features, self._maps(slots, previous), previous)
        self.model.train(training)
        if torch.is_autocast_enabled(previous.device.type):
            # Half-precision copies of the weights made here know of no gradient and would be
            # used again by the pass that needs one.
            torch.clear_autocast_cache()
        return torch.sigmoid(logits.float())

    def _click(
        self,
        probability: torch.Tensor,
        labels: torch.Tensor,
        slots: torch.Tensor,
        indices: Sequence[int],
        number: int,
    ) -> None:
        answers = probability[:, 0].cpu().numpy()
        truths, clicks = labels[:, 0].numpy(), slots.numpy()

        def click(places: np.ndarray) -> None:
            corrections = find_corrections(truths[places], answers[places])
            for place, correction in zip(places, corrections, strict=True):
                rng = np.random.default_rng((self._seed, indices[place], number))
                position = place_click(correction, self._placement, rng)
                add_click(clicks[place], correction, number, position)

        # A GPU waits for these clicks, so all cores look for them.
        threads = min(torch.get_num_threads(), len(indices))
        with ThreadPoolExecutor(threads) as pool:
            list(pool.map(click, np.array_split(np.arange(len(indices)), threads)))

    def _maps(self, slots: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
        height, width = image.shape[-2:]
        there = slots.to(image.device)
        positions = there.float().masked_fill(there[..., :1] == EMPTY, torch.nan)
        return self.model.click_maps_of_batch(positions, (height, width))
