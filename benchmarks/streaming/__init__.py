"""Parts of streams.py: streams, methods and peers, and their figures."""
