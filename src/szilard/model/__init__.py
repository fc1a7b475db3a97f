"""A network on disk: its weights, how they were trained, the data they answer; and how good it is on them."""
