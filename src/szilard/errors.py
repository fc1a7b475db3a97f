"""The one exception a user is meant to read."""


class SzilardError(Exception):
    """Something the user can mend; the message is one sentence: what is wrong, where, what to do.

    The command line prints it after ``error:`` and exits with code 2.
    """
