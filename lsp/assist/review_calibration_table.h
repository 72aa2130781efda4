// What a suspicion's parts are worth with the model that ships. Written by `cambium eval --review
// --calibrate`, not by hand: Cambium Coder, 998 functions, seed 1.
#pragma once

#include "lsp/assist/review_calibration.h"

namespace cambium::assist {

// clang-format off
inline constexpr ReviewCalibration kBundledCalibration = {
    // level, bias, weights in features_of's order
    {{
        /* name */ {1.593, 0.356, {-0.509, 2.303, -0.030, 0.382, -4.528, 2.001, 0.478, -2.178}},
        /* compare */ {1.593, 0.464, {-0.358, 2.815, 0.265, 0.560, -4.405, 1.952, 0.467, -2.125}},
        /* arithmetic */ {kNever, 0.681, {-0.547, 2.734, 0.209, 0.067, -4.319, 1.952, 0.467, -2.125}},
        /* logic */ {1.593, 0.697, {-0.534, 2.825, 0.269, 0.090, -4.314, 1.952, 0.467, -2.125}},
        /* number */ {1.593, 0.307, {-0.715, 2.717, 0.413, 0.141, -4.450, 1.952, 0.467, -2.125}},
        /* boolean */ {kNever, 0.627, {-0.500, 2.742, 0.360, 0.453, -4.338, 1.952, 0.467, -2.125}},
        /* arguments */ {1.593, 0.423, {-1.176, 2.461, 0.080, 0.517, -4.408, 1.952, 0.467, -2.125}},
        /* negation */ {1.593, 0.801, {-0.987, 2.689, -0.231, 0.672, -4.278, 1.952, 0.467, -2.125}},
        /* await */ {kNever, 0.545, {-0.660, 2.609, 0.181, 0.389, -4.366, 1.952, 0.467, -2.125}},
        /* return */ {1.593, 0.509, {-0.473, 2.734, 0.299, 0.205, -4.379, 1.952, 0.467, -2.125}},
        /* leftover */ {kNever, 0.583, {-0.813, 2.136, 0.182, 0.818, -4.353, 1.952, 0.467, -2.125}},
    }},
    {/* c */ 0.258, /* c_sharp */ 0.000, /* cpp */ -0.088, /* go */ -0.310, /* java */ -0.284, /* javascript */ -0.085, /* python */ 0.116, /* rust */ 0.387, /* tsx */ 0.264, /* typescript */ -0.258}};
// clang-format on

}  // namespace cambium::assist
