"""The seven stages, in the order in which a frame passes through them.

::

    decode → detect → track → align → restore → blend → encode

Each is a generator function from an iterator to an iterator: one item out for one item in, in
order. None knows another; ``vidrestore.pipeline`` wires them.
"""
