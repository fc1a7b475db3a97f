"""The C++ kernels and what custom operators share: who computes, how torch knows them, how activations lie."""
