"""A run folder: what lies in it, under which names, and who may write there."""
