"""How work overlaps and how long it takes: threads, device streams, clocks; nothing about faces."""
