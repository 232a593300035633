"""nbgrader's configuration: the course lies in course/, and autograding runs in our sandbox before our judge."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT))

from autograder.course import configure  # noqa: E402

configure(get_config(), ROOT / "course")  # nbgrader puts get_config here
