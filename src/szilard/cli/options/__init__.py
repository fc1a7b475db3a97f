"""Options and arguments that commands take, each declared once; None means that it was not given."""
