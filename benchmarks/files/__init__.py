"""Sizes of files: Szilard's, those of other codecs, and the contribution of each part of the compression."""
