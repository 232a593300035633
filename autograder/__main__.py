"""python -m autograder."""

from autograder.cli import main

if __name__ == "__main__":  # the workers that `grade` starts import this file
    main(prog_name="python -m autograder")
