"""Pictures that are light, that load when they come into view, and that leave their room free until they do.

Plots become palette PNGs and photographs WebP. The frames of an animation become files, which are asked for when a
reader reaches for its controls. A notebook to download keeps its own.
"""

import base64
import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from docutils import nodes
from PIL import Image
from sphinx.application import Sphinx

PICTURE = re.compile(r"<img\b([^>]*?)\s*/?>")
SOURCE = re.compile(r'\bsrc="([^"]+)"')
FRAME = re.compile(r'frames\[(\d+)\] = "data:image/png;base64,([^"]+)"')
ANIMATION = re.compile(r'<div class="animation">.*?</script>', re.DOTALL)
EAGER_FRAMES = re.compile(r"this\.frames\[i\] = new Image\(\);\s*this\.frames\[i\]\.src = frames\[i\];")
LATE_FRAMES = "this.frames[i] = {src: frames[i]};"
SLIDER = "var slider = document.getElementById(this.slider_id);"
LOAD_FRAMES = """
    var load = () => { for (const frame of this.frames) new Image().src = frame.src; };
    for (const reach of ["pointerenter", "focusin"])
      slider.closest(".animation").addEventListener(reach, load, {once: true});"""
VISIBLE_ERROR = 0.5  # mean difference of a color, of 255


def shrunk(source: Path, folder: Path) -> Path:
    """Return a lighter copy of a PNG, made once: with a palette where that can't be seen, else as WebP."""
    if made := sorted(folder.glob(f"{source.stem}.*")):
        return made[0]
    with Image.open(source) as opened:
        picture = opened.convert("RGBA")
    if picture.getextrema()[3][0] < 255:
        return source
    folder.mkdir(parents=True, exist_ok=True)
    exact = picture.convert("RGB")
    plain = exact.quantize(256, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    error = np.abs(np.asarray(plain.convert("RGB"), dtype=float) - np.asarray(exact, dtype=float)).mean()
    plot, photograph = folder / f"{source.stem}.png", folder / f"{source.stem}.webp"
    plain.save(plot, optimize=True)
    exact.save(photograph, quality=90, method=6)
    worse = photograph if plot.stat().st_size < 2 * photograph.stat().st_size and error < VISIBLE_ERROR else plot
    worse.unlink()
    return plot if worse == photograph else photograph


def copies(app: Sphinx) -> dict[str, Path]:
    """For each picture of the pages that are written, by the name that the site gives it: the file to hand out."""
    folder = Path(app.outdir).parent / "pictures"
    sources = {name: Path(app.srcdir, source) for source, name in app.builder.images.items()}
    return {name: shrunk(file, folder) if file.suffix == ".png" else file for name, file in sources.items()}


def lighten_page(
    app: Sphinx, page: str, template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Let the pictures of a page wait, with their size, and take its animations apart."""
    if "body" not in context or app.builder.format != "html":
        return
    root, files = context["pathto"]("", 1), copies(app)
    body = ANIMATION.sub(lambda found: late_animation(found[0], root, Path(app.outdir)), context["body"])
    body = EAGER_FRAMES.sub(LATE_FRAMES, body).replace(SLIDER, SLIDER + LOAD_FRAMES)
    context["body"] = PICTURE.sub(lambda found: late_picture(found[1], files, Path(app.outdir)), body)


def late_picture(attributes: str, files: dict[str, Path], site: Path) -> str:
    """A picture that loads when it comes into view; its width and height say how much room it takes."""
    source = SOURCE.search(attributes)
    if source and source[1].startswith("data:"):
        return f'<img{attributes} loading="lazy" decoding="async">'
    address, name = (source[1], source[1].rpartition("/")[2]) if source else ("", "")
    file = files.get(name, site / "_images" / name)
    if file.suffix != Path(name).suffix:
        attributes = attributes.replace(address, address.removesuffix(Path(name).suffix) + file.suffix)
    return f'<img{attributes}{room(file, attributes)} loading="lazy" decoding="async">'


def room(file: Path, attributes: str) -> str:
    """The width and height of a picture made of pixels, as attributes; a drawing has them itself."""
    if not file.is_file() or file.suffix == ".svg" or "width=" in attributes:
        return ""
    with Image.open(file) as picture:
        return f' width="{picture.width}" height="{picture.height}"'


def late_animation(player: str, root: str, site: Path) -> str:
    """The player of an animation whose frames are files: the first is shown, also where no script runs."""
    frames = {int(number): frame for number, frame in saved(player, site)}
    if not frames:
        return player
    player = FRAME.sub(lambda found: f'frames[{found[1]}] = "{root}{frames[int(found[1])]}"', player)
    return player.replace("<img ", f'<img src="{root}{frames[0]}" ', 1)


def saved(player: str, site: Path) -> Iterator[tuple[str, str]]:
    """Write each frame to a file named for its content; yield its number and its place in the site."""
    for number, data in FRAME.findall(player):
        content = base64.b64decode(data.replace("\\\n", ""))
        place = f"_images/frame-{hashlib.sha256(content).hexdigest()[:20]}.png"
        (site / "_images").mkdir(parents=True, exist_ok=True)
        (site / place).write_bytes(content)
        yield number, place


def hand_out_copies(app: Sphinx, error: Exception | None) -> None:
    """Put the lighter pictures in the places of the others."""
    if error or app.builder.format != "html":
        return
    for name, file in copies(app).items():
        target = Path(app.outdir, "_images", name)
        target.unlink(missing_ok=True)
        shutil.copyfile(file, target.with_suffix(file.suffix))


def setup(app: Sphinx) -> dict[str, Any]:
    app.connect("html-page-context", lighten_page)
    app.connect("build-finished", hand_out_copies)
    return {"parallel_read_safe": True, "parallel_write_safe": False}
