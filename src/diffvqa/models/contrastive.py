"""Contrast of images, or of places in them, with their texts: CLIP, SigLIP, and their local kind."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.nn import functional
from transformers import CLIPTextConfig, CLIPTextModel

from diffvqa.models.gathering import HeadOutput, gather_rows


class ContrastiveHead(nn.Module):
    """A text encoder, and how patch tokens and texts are compared.

    sigmoid: each pair is a yes or no by itself (SigLIP, arXiv 2303.15343). Otherwise each image must find its text
    among the others, and each text its image (CLIP, arXiv 2103.00020). local: what is compared are places, by the mean
    of the patch tokens under their boxes; else whole images, by attention pooling (as SigLIP does).
    """

    def __init__(self, width: int, text_config: CLIPTextConfig, sigmoid: bool, local: bool) -> None:
        super().__init__()
        self.sigmoid = sigmoid
        self.pooling = None if local else AttentionPooling(width)
        self.text_encoder = CLIPTextModel(text_config)
        self.projection = nn.Linear(width, text_config.hidden_size, bias=False)
        nn.init.normal_(self.projection.weight, std=width**-0.5)
        # The temperature and the bias that the two papers begin with; of one element, for scalars cannot be sharded.
        self.log_scale = nn.Parameter(torch.tensor([math.log(10.0 if sigmoid else 1 / 0.07)]))
        self.bias = nn.Parameter(torch.tensor([-10.0])) if sigmoid else None

    def forward(
        self,
        tokens: torch.Tensor,
        input_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        image_index: torch.Tensor,
        boxes: torch.Tensor,
        text_key: torch.Tensor,
    ) -> HeadOutput:
        """The loss, and the mean number of negatives: other texts that an image or a place was compared with.

        tokens: (images, patches, width). input_ids, attention_mask: (texts, length), right-padded; image_index
        (texts,), the image that each belongs to; boxes (texts, 4), as shares of the side; text_key (texts,), equal for
        equal texts. Equal texts are no negatives of each other, nor are texts of the same box in the same image. Texts
        of all processes are compared; loss and number are this process's parts of the means, so that the parts of all
        add up to them.
        """
        image_features = self.pooling(tokens)[image_index] if self.pooling else pool_boxes(tokens, image_index, boxes)
        image_features = functional.normalize(self.projection(image_features).float(), dim=-1)
        text_features = functional.normalize(self._encode_texts(input_ids, attention_mask).float(), dim=-1)
        (all_image_features, all_text_features, all_keys), first = gather_rows(image_features, text_features, text_key)
        own = torch.arange(first, first + len(image_features), device=image_features.device)
        equal = text_key[:, None] == all_keys[None, :]
        # Images of other processes are others, so that places are compared within this one alone.
        equal[:, own] |= (image_index[:, None] == image_index) & (boxes[:, None] == boxes).all(-1)
        equal[torch.arange(len(own)), own] = False
        scale = self.log_scale.exp()
        # Logits as large as these would have steps of a sixteenth in bf16.
        with torch.autocast(image_features.device.type, enabled=False):
            if self.bias is not None:
                logits = scale * image_features @ all_text_features.T + self.bias
                sign = torch.full_like(logits, -1.0)
                sign[torch.arange(len(own)), own] = 1.0
                total = -functional.logsigmoid(sign * logits).masked_fill(equal, 0.0).sum()
            else:
                to_texts, to_images = (
                    functional.cross_entropy((scale * a @ b.T).masked_fill(equal, -torch.inf), own, reduction="sum") / 2
                    for a, b in ((image_features, all_text_features), (text_features, all_image_features))
                )
                total = to_texts + to_images
        count = max(len(all_keys), 1)
        return HeadOutput(total / count, ((~equal).sum() - len(own)) / count)

    def _encode_texts(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The features of the end token of each text, the only one that has seen it all."""
        texts = len(input_ids)
        if not texts:
            # Layers that are shared out among processes need every process, even one without a text.
            input_ids = attention_mask = input_ids.new_ones(1, 1)
        hidden = self.text_encoder(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
        return hidden[torch.arange(len(hidden), device=hidden.device), attention_mask.sum(1) - 1][:texts]


class AttentionPooling(nn.Module):
    """One learned query that looks at all patch tokens: (images, patches, width) -> (images, width)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        # Heads as wide as those of the usual vision transformers, or wider where 64 does not divide the width.
        heads = max(heads for heads in range(1, max(width // 64, 1) + 1) if width % heads == 0)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.query = nn.Parameter(torch.randn(1, 1, width))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """(images, patches, width) -> (images, width)."""
        return self.attention(self.query.expand(len(tokens), -1, -1), tokens, tokens, need_weights=False)[0][:, 0]


def pool_boxes(tokens: torch.Tensor, image_index: torch.Tensor, boxes: torch.Tensor) -> torch.Tensor:
    """The mean of the patch tokens under each box, weighted by the area that they share.

    tokens: (images, patches, width), a square grid row by row. image_index: (boxes,). boxes: (boxes, 4), x1 y1 x2 y2
    as shares of the image's side. Gives (boxes, width).
    """
    side = math.isqrt(tokens.shape[1])
    edges = torch.arange(side + 1, device=boxes.device, dtype=boxes.dtype) / side

    def shared(low: torch.Tensor, high: torch.Tensor) -> torch.Tensor:
        """The part of each row or column of patches between low and high: (boxes, side)."""
        return (torch.minimum(high[:, None], edges[1:]) - torch.maximum(low[:, None], edges[:-1])).clamp(min=0)

    across, down = shared(boxes[:, 0], boxes[:, 2]), shared(boxes[:, 1], boxes[:, 3])
    areas = (down[:, :, None] * across[:, None, :]).flatten(1)
    weights = areas / areas.sum(1, keepdim=True).clamp(min=1e-9)
    return torch.einsum("bp,bpw->bw", weights.to(tokens.dtype), tokens[image_index])
