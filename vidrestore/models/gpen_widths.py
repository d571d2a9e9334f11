"""Widths of the network and of its discriminator; known without PyTorch."""

from __future__ import annotations


def num_channels(resolution: int, channel_multiplier: int, narrow: float) -> int:
    """Return how many channels the maps of ``resolution`` × ``resolution`` have."""
    if resolution <= 32:
        return int(512 * narrow)
    return int(16384 * channel_multiplier * narrow / resolution)
