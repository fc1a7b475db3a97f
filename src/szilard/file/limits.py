"""The limits of all files, with any kinds of records."""

MOST_RECORDS = 1 << 13
MOST_DIMENSIONS = 8
MOST_ELEMENTS = 1 << 33  #: entries of a tensor, with each dimension of 0 counted as 1
MOST_KIND = (1 << 14) - 1  #: number of a kind in a file with wide kinds
