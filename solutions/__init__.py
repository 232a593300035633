"""The reference implementation of every block, in NumPy and in torch."""
