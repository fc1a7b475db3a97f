"""Compressing the networks of the zoo: cells with a verdict, and guaranteed drops."""
