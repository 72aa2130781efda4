// What a suspicion's parts are worth with the model that ships. Written by `cambium eval --review
// --calibrate`, not by hand: Cambium Coder, 996 functions, seed 1.
#pragma once

#include "lsp/assist/review_calibration.h"

namespace cambium::assist {

// clang-format off
inline constexpr ReviewCalibration kBundledCalibration = {
    // level, bias, weights in features_of's order
    {{
        /* name */ {1.923, 0.512, {-0.079, 1.839, 0.326, 0.318, -5.121, 2.258, 0.731, -2.154}},
        /* compare */ {kNever, 0.960, {-0.120, 1.459, 0.512, 0.519, -4.725, 2.203, 0.713, -2.101}},
        /* arithmetic */ {kNever, 1.436, {0.103, 1.875, 0.544, -0.292, -4.603, 2.203, 0.713, -2.101}},
        /* logic */ {1.923, 1.154, {-0.045, 1.597, 0.206, -0.027, -4.701, 2.203, 0.713, -2.101}},
        /* number */ {1.923, 1.162, {-0.271, 1.810, 0.375, 0.217, -4.659, 2.203, 0.713, -2.101}},
        /* boolean */ {kNever, 1.163, {-0.063, 1.707, 0.457, 0.698, -4.697, 2.203, 0.713, -2.101}},
        /* arguments */ {1.923, 0.971, {-0.732, 1.428, 0.432, 0.290, -4.764, 2.203, 0.713, -2.101}},
        /* negation */ {1.923, 1.534, {-0.047, 1.732, 0.171, 0.628, -4.569, 2.203, 0.713, -2.101}},
        /* await */ {kNever, 1.256, {0.023, 1.717, 0.421, -0.138, -4.665, 2.203, 0.713, -2.101}},
        /* return */ {1.923, 1.163, {-0.037, 1.710, 0.448, -0.120, -4.697, 2.203, 0.713, -2.101}},
        /* leftover */ {1.923, 1.508, {-0.175, 1.239, 0.442, 0.444, -4.578, 2.203, 0.713, -2.101}},
    }},
    {/* c */ -0.464, /* c_sharp */ 0.000, /* cpp */ -0.030, /* go */ 0.462, /* java */ -0.057, /* javascript */ -0.425, /* python */ 0.290, /* rust */ 0.354, /* tsx */ 0.265, /* typescript */ -0.396}};
// clang-format on

}  // namespace cambium::assist
