"""Everything that knows PyAV: looking into a film, reading its pictures, writing the new film.

``opening``  a path → an open container, its stream of pictures and its origin of time
``probe``  a path → facts about the film (`SourceInfo`)
``pixels``  a decoder's picture → planes, what their numbers mean, and RGB
``clock``  vague timestamps → exact, increasing times
``read``  a path → frames in order, from any moment on (`VideoReader`)
``containers``, ``encoders``  what the output can hold, and what codes the pictures
``plan``  what becomes of every track, and what the user must know, before the work begins
``target``  the place where the output will be
``sound``, ``tracks``, ``passthrough``  sound, subtitles, chapters, covers, attachments and tags
``write``  frames → a new film beside its final name, renamed when complete (`VideoWriter`)

Nothing outside this package imports ``av``, and FFmpeg's errors do not leave it: they become the
errors of :mod:`vidrestore.errors`.
"""
