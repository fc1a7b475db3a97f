"""Compressing the networks of the zoo: cells with a verdict, and promised drops."""
