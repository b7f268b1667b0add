"""A hybrid vision transformer: a convolutional stem looks at the pixels, the transformer at its grid of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModel, ResNetConfig, ResNetModel, SiglipVisionConfig, SiglipVisionModel

_DEFAULT_STEM = {"embedding_size": 32, "hidden_sizes": [48, 96, 192], "depths": [1, 1, 2], "layer_type": "basic"}


class HybridVisionConfig(SiglipVisionConfig):
    """The sizes of a SigLIP vision model, and of the residual network (`stem_config`) in place of its patch embedding.

    The network halves the image twice, and once more with every stage after the first: that is the patch size.
    Raises ValueError if it is not.
    """

    model_type = "diffvqa_hybrid_vision"
    sub_configs = {"stem_config": ResNetConfig}  # noqa: RUF012
    stem_config: Any = None

    def __init__(self, stem_config: dict | ResNetConfig | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        # The library also makes a configuration from nothing, to see what differs from it: that must be a valid one.
        settings = stem_config.to_dict() if isinstance(stem_config, ResNetConfig) else stem_config or _DEFAULT_STEM
        self.stem_config = ResNetConfig(**{**settings, "num_channels": self.num_channels})
        downsampling = 2 ** (len(self.stem_widths) + 1)
        if self.patch_size != downsampling:
            raise ValueError(
                f"the stem's {len(self.stem_widths)} stages make patches of {downsampling} pixels, "
                f"but patch_size is {self.patch_size}"
            )

    @property
    def stem_widths(self) -> Sequence[int]:
        """The widths of the residual network's stages."""
        return self.stem_config.hidden_sizes or ()


class HybridVisionModel(SiglipVisionModel):
    """A SigLIP vision model on the features of a residual network (the hybrid of arXiv 2010.11929, section 3.1).

    Convolutions learn from thousands of images what a transformer on raw patches needs many more for.
    """

    config_class = HybridVisionConfig

    def __init__(self, config: HybridVisionConfig) -> None:
        super().__init__(config)
        self.embeddings.register_module("patch_embedding", _Stem(config))
        self.post_init()


class _Stem(nn.Module):
    def __init__(self, config: HybridVisionConfig) -> None:
        super().__init__()
        self.network = ResNetModel(config.stem_config)
        self.projection = nn.Conv2d(config.stem_widths[-1], config.hidden_size, kernel_size=1)

    @property
    def weight(self) -> torch.Tensor:
        """The weight of the patch embedding; other code asks for its type."""
        return self.projection.weight

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return self.projection(self.network(pixels).last_hidden_state)


AutoConfig.register(HybridVisionConfig.model_type, HybridVisionConfig)
AutoModel.register(HybridVisionConfig, HybridVisionModel)
