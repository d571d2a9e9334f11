"""Everything that knows PyAV: looking into a film, reading its pictures, writing the new film.

``opening``  a path → an open container, its picture stream and its origin of time
``probe``  a path → facts about the film (`SourceInfo`)
``pixels``  a decoder's picture → planes, what their numbers mean, and RGB
``read``  a path → frames in order, each with an exact time
``encoders``  which encoder with which options; the containers and what they can hold
``sound``  one sound track encoded anew, because the container cannot hold it as it is
``passthrough``  sound, subtitles, chapters, attachments and tags, carried over packet by packet
``write``  frames → a new film beside its final name, renamed when it is complete

Nothing outside this package imports ``av``, and FFmpeg's errors do not leave it: they become the
errors of :mod:`vidrestore.errors`.
"""
