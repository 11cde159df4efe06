"""Plain ViT with two streams (paper section 3.1).

Image and clicks are embedded apart, pass the same first group of blocks, meet in the
cross-modality blocks, and their sum passes the second group.

Most blocks attend inside windows. The tokens are laid out window by window once, at the entrance:
a windowed block and a global block then differ by a view, and nothing is copied in between.
"""

from functools import partial

import torch
from torch import nn
from torch.nn import functional as F

from icmformer.config import ModelConfig
from icmformer.cross_modality import CrossModality, TokenView
from icmformer.errors import InputError
from icmformer.image_features import ImageFeatures
from icmformer.segmentation_head import FeaturePyramid
from icmformer.transformer import Block, PatchEmbedding

NORM_EPS = 1e-6


class PlainViT(nn.Module):
    """A ViT whose blocks are shared by the image and the click stream, with a feature pyramid."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.config = config
        self.native_grid = grid_size(config.input_size, config.patch_size)
        embed = partial(PatchEmbedding, config.patch_size, dim, norm=False)
        self.image_embed = embed()
        self.click_embed = embed()
        self.position_embedding = nn.Parameter(
            torch.empty(1, self.native_grid[0] * self.native_grid[1], dim)
        )
        self.blocks = nn.ModuleList(
            Block(dim, heads, NORM_EPS)
            for depth, heads in zip(config.depths, config.num_heads, strict=True)
            for _ in range(depth)
        )
        self.cross_modality = CrossModality(
            dim, config.cross_heads, config.num_cross_blocks, config.cross_direction, NORM_EPS
        )
        self.pyramid = FeaturePyramid(dim, config.pyramid_widths)
        self._initialise()

    @property
    def out_channels(self) -> tuple[int, ...]:
        """Channels of the four maps that `fuse` returns, the finest first."""
        return self.config.pyramid_widths

    def encode_image(self, image: torch.Tensor) -> ImageFeatures:
        """Pass the normalised image (B, 3, H, W) through the first group.

        Raises:
            InputError: if height or width cannot be cut into patches and windows.
        """
        size_hw = (image.shape[-2], image.shape[-1])
        view = self._view(size_hw)
        tokens = self._group(0, self._embed(self.image_embed, image), view)
        keys_values = self.cross_modality.image_keys_values(tokens, view)
        return ImageFeatures(size_hw, tokens, None, keys_values)

    def fuse(self, features: ImageFeatures, guidance: torch.Tensor) -> list[torch.Tensor]:
        """Bring in the clicks.

        Args:
            features: what `encode_image` returned.
            guidance: (B, 3, H, W): previous mask, positive and negative click maps.

        Returns:
            Four maps (B, C_i, H_i, W_i) at 1/4, 1/8, 1/16 and 1/32 of a patch-16 image.
        """
        view = self._view(features.size_hw)
        clicks = self._embed(self.click_embed, guidance)
        if self.config.share_first_group_with_clicks:
            clicks = self._group(0, clicks, view)
        tokens = self.cross_modality(features.tokens, clicks, features.keys_values, view)
        tokens = self._group(1, tokens, view)
        grid = grid_size(features.size_hw, self.config.patch_size)
        return self.pyramid(_from_windows(tokens, grid, self._windows(features.size_hw)))

    def _group(self, group: int, tokens: torch.Tensor, view: TokenView) -> torch.Tensor:
        first = group * self.config.depths[0]
        for index in range(first, first + self.config.depths[group]):
            tokens = self.blocks[index](view(tokens, index)).view_as(tokens)
        return tokens

    def _embed(self, embed: nn.Module, image: torch.Tensor) -> torch.Tensor:
        """Embed patches, add positions, lay out by windows: (B, 3, H, W) to (B, N, C)."""
        size_hw = (image.shape[-2], image.shape[-1])
        grid = grid_size(size_hw, self.config.patch_size)
        position = resize_position_embedding(self.position_embedding, self.native_grid, grid)
        return _to_windows(embed(image).flatten(1, 2) + position, grid, self._windows(size_hw))

    def _view(self, size_hw: tuple[int, int]) -> TokenView:
        """Return how blocks see tokens (B, N, C) of an image: by window, or all at once.

        Blocks count from zero, the cross-modality blocks anew: with six or more of them, the
        sixth of a ViT-B is global, as in the reference.
        """
        down, across = self._windows(size_hw)

        def view(tokens: torch.Tensor, index: int) -> torch.Tensor:
            if (index + 1) % self.config.global_every == 0:
                return tokens
            return tokens.reshape(len(tokens) * down * across, -1, tokens.shape[-1])

        return view

    def _windows(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the number of windows down and across an image, or refuse its size."""
        down, across = map(self.config.windows_along, size_hw)
        if not down or not across:
            step = self.config.patch_size * self.config.window_size
            raise InputError(
                f"a {size_hw[0]} x {size_hw[1]} image cannot be cut into windows: this model takes "
                f"heights and widths that are multiples of {step} pixels, such as "
                f"{self.config.input_size[0]}"
            )
        return down, across

    def _initialise(self) -> None:
        """Initialise as MAE does; the click embedding and the pyramid keep PyTorch's default."""
        nn.init.normal_(self.position_embedding, std=0.02)
        nn.init.xavier_uniform_(self.image_embed.proj.weight.flatten(1))
        for module in (*self.blocks.modules(), *self.cross_modality.modules()):
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)


def resize_position_embedding(
    embedding: torch.Tensor, source: tuple[int, int], target: tuple[int, int]
) -> torch.Tensor:
    """Resize (1, h·w, C), laid out row by row on `source` (h, w), to the grid `target`.

    Bicubic, `align_corners=False`, no antialiasing, as the published models were trained with.
    """
    if source == target:
        return embedding
    grid = embedding.transpose(1, 2).unflatten(2, source)
    resized = F.interpolate(grid, size=target, mode="bicubic", align_corners=False)
    return resized.flatten(2).transpose(1, 2)


def grid_size(size_hw: tuple[int, int], patch_size: int) -> tuple[int, int]:
    """Return the patches down and across an image of that size in pixels."""
    return size_hw[0] // patch_size, size_hw[1] // patch_size


def _to_windows(
    tokens: torch.Tensor, grid: tuple[int, int], windows: tuple[int, int]
) -> torch.Tensor:
    """Reorder (B, N, C) from row by row to window by window."""
    split = (windows[0], grid[0] // windows[0], windows[1], grid[1] // windows[1])
    return tokens.unflatten(1, split).transpose(2, 3).flatten(1, 4)


def _from_windows(
    tokens: torch.Tensor, grid: tuple[int, int], windows: tuple[int, int]
) -> torch.Tensor:
    """Reorder (B, N, C) from window by window to a map (B, C, h, w)."""
    split = (windows[0], windows[1], grid[0] // windows[0], grid[1] // windows[1])
    by_rows = tokens.unflatten(1, split).transpose(2, 3)
    return by_rows.flatten(1, 4).transpose(1, 2).unflatten(2, grid)
