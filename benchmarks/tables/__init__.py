"""Training on tables as people have them, through the command line."""
