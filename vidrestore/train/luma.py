"""Luma of pictures, for losses that are not to be lowered by painting in other colours.

Networks that judge pictures can be pleased so: the embedding of a face by blue eyes, the features
of a classifier by red ones. Distances of values see to the colours; those networks are shown the
clean picture's.
"""

from __future__ import annotations

from torch import Tensor

_LUMA = (0.299, 0.587, 0.114)


def luma(picture: Tensor) -> Tensor:
    """Return the luma (ITU-R BT.601), shape (N, 1, H, W), of RGB pictures (N, 3, H, W).

    Backwards it is the mean of the three: what asks for other luma gets a grey change. By luma's
    own gradient green would change twice as much as red, and eyes would take on colours.
    """
    grey = picture.mean(dim=1, keepdim=True)
    weighted = (picture * picture.new_tensor(_LUMA)[:, None, None]).sum(dim=1, keepdim=True)
    return grey + (weighted - grey).detach()


def with_colour_of(target: Tensor, picture: Tensor) -> Tensor:
    """Return what has the luma of ``picture`` and the colour of ``target``, (N, 3, H, W) RGB.

    Not clamped: that would stop the gradient where a colour is full. It goes to ``picture`` alone.
    """
    return target.detach() + luma(picture - target.detach())
