"""The tests: one file per block, and those that hold for all blocks at once."""
