"""The C++ kernels and what custom operators share: backend choice, registration with torch, memory layout."""
