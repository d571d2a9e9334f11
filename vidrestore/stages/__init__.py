"""The eight stages, in the order in which frames pass through them.

1. ``decode``: file → Frame
2. ``detect``: Frame → DetectedFrame
3. ``track``: DetectedFrame → TrackedFrame
4. ``align``: TrackedFrame → AlignedFrame
5. ``restore``: AlignedFrame → RestoredFrame
6. ``steady``: RestoredFrame → RestoredFrame
7. ``blend``: RestoredFrame → BlendedFrame
8. ``encode``: BlendedFrame → file
"""
