"""Hostile files and folders, threads and kills, and what watches the library under them."""
