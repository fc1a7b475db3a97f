"""A run folder: its files, their formats, and the lock that allows one writer."""
