"""The player of an animation: it asks no other server for anything, waits to be started, and all of it has a name."""

import re

import pytest
from matplotlib.animation import FuncAnimation
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from book._ext.animation import MOST_FRAMES, SIGNS, player

ALT = 'A line that grows, "step" by step.'


@pytest.fixture(scope="module")
def page():
    fig = Figure(figsize=(1, 1))
    FigureCanvasAgg(fig)
    (line,) = fig.subplots().plot([0], [0])
    animation = FuncAnimation(fig, lambda k: line.set_data([0, k], [0, k]) or (line,), frames=3)
    return player(animation, 3, ALT).data


def test_a_page_with_an_animation_asks_no_other_server(page):
    assert re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", page) == []
    assert "http" not in re.sub(r"data:image/png;base64,[^\"]*", "", page)


def test_every_button_shows_a_sign_and_has_a_name(page):
    buttons = re.findall(r"<button[^>]*aria-label=\"([^\"]+)\"[^>]*>\s*<span aria-hidden=\"true\">([^<]+)</span>", page)
    assert dict(buttons) == SIGNS
    assert page.count("<button") == len(SIGNS)


def test_picture_and_slider_have_a_name(page):
    assert page.count("<img ") == page.count('<img alt="A line that grows, &quot;step&quot; by step."') == 1
    (slider,) = re.findall(r"<input [^>]*type=\"range\"[^>]*>", page)
    assert 'aria-label="Frame"' in slider


def test_nothing_moves_before_it_is_started_and_it_stops_at_the_end(page):
    assert "play_animation()" not in page.rpartition("/* Instantiate")[2]
    (once,) = re.findall(r'value="once"[^>]*>', page)
    assert "checked" in once


@pytest.mark.parametrize(("frames", "alt"), [(MOST_FRAMES + 1, ALT), (0, ALT), (3, "  ")])
def test_too_many_frames_or_no_words_for_them_are_refused(frames, alt):
    with pytest.raises(ValueError, match="expected 1 to 40 frames and a text in their place"):
        player(None, frames, alt)
