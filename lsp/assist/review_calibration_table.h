// What a suspicion's parts are worth with the model that ships.
#pragma once

#include "lsp/assist/review_calibration.h"

namespace cambium::assist {

inline constexpr ReviewCalibration kBundledCalibration = {};

}  // namespace cambium::assist
