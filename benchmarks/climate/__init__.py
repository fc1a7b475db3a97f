"""Parts of field.py: fields, peers, judges and measures, and their figures."""
