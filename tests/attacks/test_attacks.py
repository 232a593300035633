"""Every attack earns what its answers are worth, changes nothing, and leaves the class and the sandbox alone."""

import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from distributed import Client

from tests.attacks.attack import Attack
from tests.attacks.classroom import ATTACKS, Classroom, examine, fast_folder, last_classmate, open_classroom

pytestmark = [
    pytest.mark.xdist_group("attacks"),
    pytest.mark.skipif(sys.platform != "linux", reason="bubblewrap, which confines submissions, runs on Linux only"),
]


@pytest.fixture(scope="module")
def classroom(lstm_course: Path, client: Client) -> Iterator[Classroom]:
    with (
        tempfile.TemporaryDirectory(dir=fast_folder()) as folder,
        open_classroom(Path(folder), lstm_course, client) as opened,
    ):
        yield opened


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
def test_an_attack_gets_the_verdict_that_it_deserves_and_harms_nobody(classroom: Classroom, attack: Attack) -> None:
    problems = examine(classroom, attack)
    assert not problems, "\n".join(problems)


def test_a_class_mate_graded_after_all_of_them_has_full_marks(classroom: Classroom) -> None:
    assert last_classmate(classroom) == []


def test_there_are_attacks_of_every_kind_and_no_two_of_one_name() -> None:
    assert len({attack.name for attack in ATTACKS}) == len(ATTACKS) >= 70
    assert min(Counter(attack.row for attack in ATTACKS).values()) >= 10
