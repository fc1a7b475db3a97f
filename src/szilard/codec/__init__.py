"""Fields with a hard bound on every error, coded by the free energy distortion + λ · bits."""
