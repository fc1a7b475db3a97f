"""Parts of compressed_sensing.py: photographs measured patch by patch, and the methods that reconstruct them."""
