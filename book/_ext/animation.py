"""An animation of matplotlib as a player in a page: no request leaves the site, and every part of it has a name."""

import html
import re

from IPython.display import HTML
from matplotlib.animation import Animation

MOST_FRAMES = 40
SIGNS = {
    "Decrease speed": "−",
    "First frame": "«",
    "Previous frame": "‹",
    "Play backwards": "◀",
    "Pause": "❚❚",
    "Play": "▶",
    "Next frame": "›",
    "Last frame": "»",
    "Increase speed": "+",
}
STYLE = (
    "<style>.animation, .animation img, input[type=range].anim-slider {max-width: 100%}"
    " .anim-buttons button {min-width: 24px; height: 28px; line-height: 1; font-family: sans-serif}</style>"
)


def player(animation: Animation, frames: int, alt: str, fps: int = 8) -> HTML:
    """Return an animation of so many frames as pictures with buttons; it shows the first one until it is started.

    `alt` says what is to be seen. Raises ValueError where a page should not carry so many, or alt is empty.
    """
    if not 0 < frames <= MOST_FRAMES or not alt.strip():
        raise ValueError(f"expected 1 to {MOST_FRAMES} frames and a text in their place, got {frames}, {alt!r}")
    return HTML(accessible(animation.to_jshtml(fps=fps, default_mode="once"), alt))


def accessible(page: str, alt: str) -> str:
    """Take the request for a font out of what to_jshtml writes; name its picture, its slider and its buttons."""
    page = re.sub(r"<link\b[^>]*>", "", page)
    for label, sign in SIGNS.items():
        button = rf'(aria-label="{label}"[^>]*>)\s*<i class="[^"]*"></i>'
        page = re.sub(button, rf'\1<span aria-hidden="true">{sign}</span>', page)
    page = page.replace('<img id="_anim_img', f'<img alt="{html.escape(alt)}" id="_anim_img')
    page = page.replace('type="range" class="anim-slider"', 'type="range" aria-label="Frame" class="anim-slider"')
    return STYLE + page
