"""The nine stages, in the order in which frames pass through them.

1. ``decode``: file → Frame
2. ``detect``: Frame → DetectedFrame
3. ``track``: DetectedFrame → TrackedFrame
4. ``align``: TrackedFrame → AlignedFrame
5. ``restore``: AlignedFrame → RestoredFrame
6. ``steady``: RestoredFrame → RestoredFrame
7. ``background``: RestoredFrame → RestoredFrame, where that is asked for
8. ``blend``: RestoredFrame → BlendedFrame
9. ``encode``: BlendedFrame → file
"""
