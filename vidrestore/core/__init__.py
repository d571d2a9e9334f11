"""Numbers only: arrays in, arrays out; no files, no devices, no threads, no logging."""
