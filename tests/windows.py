"""What a sliding window asks of the inputs that tests draw: it must fit, and it moves in more than one way."""

# Axes that must fit into others, and the axes that they fit into: (longest of these, shortest of those).
LONGEST = {"k_h": 3, "k_w": 2}
SHORTEST = {"height": 5, "width": 5}
# Few numbers, for central differences.
SMALL = {"batch": 2, "groups": 2, "c_in": 5, "channels": 5, "c_out": 6, "height": 7, "width": 8, "k_h": 3, "k_w": 4}
# What one axis at a time is lengthened to for a kernel of four axes, such as an image has: the interpreter is slow.
LONG = 41

MOVES = (
    {"stride": 1, "padding": 0, "dilation": 1},
    {"stride": 2, "padding": 1, "dilation": 1},
    {"stride": 3, "padding": 2, "dilation": 2},
)
POOLS = (
    {"window": 2, "stride": 2, "padding": 0},
    {"window": 3, "stride": 2, "padding": 1},
    {"window": 3, "stride": 1, "padding": 0},
)

# How functions with a window are called, by name.
SETTINGS: dict[str, tuple[dict[str, object], ...]] = {
    "conv2d_forward": MOVES,
    "grouped_conv2d_forward": MOVES,
    "depthwise_conv2d_forward": tuple({k: v for k, v in move.items() if k != "dilation"} for move in MOVES),
    "max_pool_forward": POOLS,
    "avg_pool_forward": POOLS,
}

# A kernel runs in the interpreter: fewer will do.
FOR_KERNELS = {"conv2d_forward": MOVES[1:], "max_pool_forward": POOLS[:2]}
