// What the modes of `cambium eval` share.
#pragma once

#include <nlohmann/json.hpp>
#include <string>

#include "lsp/cli/verbs.h"
#include "lsp/eval/evaluate.h"
#include "lsp/eval/summary.h"

namespace cambium::cli {

/// By language, "all" for their sum: exact match with its interval, similarity, stops, losses.
nlohmann::json figures_json(const eval::FiguresByLanguage& figures);
nlohmann::json interval_json(const eval::Interval& interval);

/// PATH[,adapter=FILE][,structure=MODE][,window=N][,sinks=N][,prompt-tokens=N][,max-tokens=N]
/// [,copying=PERCENT][,copied-lines=0|1]; an empty path is the model of the settings.
Result<eval::ModelUnderTest> parse_model(const std::string& argument, const Config& config);

/// A bar on a terminal, nothing elsewhere.
class ProgressBar {
 public:
  ProgressBar(Run& run, std::string name);
  ~ProgressBar();
  ProgressBar(const ProgressBar&) = delete;
  ProgressBar& operator=(const ProgressBar&) = delete;
  void operator()(size_t done, size_t all);

 private:
  Run& run_;
  std::string name_;
  bool shown_;
};

}  // namespace cambium::cli
