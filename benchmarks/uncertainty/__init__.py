"""Whether predictions know what they do not know."""
