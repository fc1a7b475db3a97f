"""The one exception, and the one warning, that a user is meant to read."""


class SzilardError(Exception):
    """Something the user can mend; the message is one sentence: what is wrong, where, what to do.

    The command line prints it after ``error:`` and exits with code 2.
    """


class SzilardWarning(UserWarning):
    """Something works, but worse than the user would have it; the message is one sentence that says what to do.

    The command line prints it after ``warning:``.
    """
