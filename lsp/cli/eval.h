// Reports of `cambium eval` as JSON.
#pragma once

#include <nlohmann/json.hpp>

#include "lsp/eval/summary.h"

namespace cambium::cli {

/// By language, "all" for their sum: exact match with its interval, similarity, stops, losses.
nlohmann::json figures_json(const eval::FiguresByLanguage& figures);

}  // namespace cambium::cli
