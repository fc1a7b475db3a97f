// The C ABI of Szilard's kernels. A family is a folder with a header, and a table of its functions in Python
// (src/szilard/kernels/functions/).
#pragma once
#include "coding.h"
#include "core.h"
#include "field.h"
#include "inference.h"
#include "norm.h"
#include "solve.h"
#include "sparse.h"
