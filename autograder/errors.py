"""The one exception that a command turns into a single line for the person who typed it."""


class UserError(Exception):
    """Something that the user can mend; its text says what was expected, what came and what to do."""
