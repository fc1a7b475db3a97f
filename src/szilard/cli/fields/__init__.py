"""What the commands for fields share: files that are read and written, progress and tables."""
