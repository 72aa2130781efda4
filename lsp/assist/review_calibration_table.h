// What a suspicion's parts are worth with the model that ships. Written by `cambium eval --review
// --calibrate`, not by hand: Cambium Coder, 1284 functions, seed 1.
#pragma once

#include "lsp/assist/review_calibration.h"

namespace cambium::assist {

// clang-format off
inline constexpr ReviewCalibration kBundledCalibration = {
    // level, bias, weights in features_of's order
    {{
        /* name */ {1.737, -0.805, {-0.217, 2.050, -0.099, 0.312, -3.860, 2.161, 0.701, -1.392}},
        /* compare */ {1.737, -0.727, {0.022, 2.133, -0.002, 0.033, -3.702, 2.108, 0.684, -1.358}},
        /* arithmetic */ {kNever, -0.377, {0.248, 2.466, 0.140, 0.260, -3.595, 2.108, 0.684, -1.358}},
        /* logic */ {1.737, -0.402, {0.058, 2.204, -0.215, -0.145, -3.604, 2.108, 0.684, -1.358}},
        /* number */ {1.737, -0.640, {-0.027, 2.183, -0.197, 0.137, -3.674, 2.108, 0.684, -1.358}},
        /* boolean */ {kNever, -0.332, {0.200, 2.366, 0.085, 0.398, -3.580, 2.108, 0.684, -1.358}},
        /* arguments */ {1.737, -0.358, {-0.030, 2.316, 0.172, 0.345, -3.589, 2.108, 0.684, -1.358}},
        /* negation */ {1.737, -0.545, {-0.067, 2.272, -0.104, 0.884, -3.653, 2.108, 0.684, -1.358}},
        /* await */ {kNever, -0.393, {0.134, 2.259, -0.530, 0.016, -3.601, 2.108, 0.684, -1.358}},
        /* return */ {1.737, -0.383, {-0.018, 2.297, 0.271, 0.201, -3.597, 2.108, 0.684, -1.358}},
        /* leftover */ {-3.026, 0.016, {0.301, 2.022, -0.291, 0.834, -3.459, 2.108, 0.684, -1.358}},
    }},
    {/* c */ -0.297, /* c_sharp */ 0.146, /* cpp */ 0.366, /* go */ 0.392, /* java */ -0.197, /* javascript */ -0.584, /* python */ -0.335, /* rust */ 0.623, /* tsx */ -0.048, /* typescript */ -0.066}};
// clang-format on

}  // namespace cambium::assist
