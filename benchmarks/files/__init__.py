"""Sizes of files: our own, those of other codecs, and what each part of ours is worth."""
