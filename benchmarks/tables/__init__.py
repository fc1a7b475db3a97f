"""Training on CSV files through the command line."""
