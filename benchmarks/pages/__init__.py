"""Content of the generated blocks in the documentation."""
