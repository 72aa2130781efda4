// Marks functions that run on the host and in kernels.
#pragma once

#ifdef __CUDACC__
#define CAMBIUM_HD __host__ __device__
#else
#define CAMBIUM_HD
#endif
