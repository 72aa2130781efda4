// What the parts of Reviews share: the state of a file and of a review under way. For review*.cpp only.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lsp/handlers/review.h"

namespace cambium::lsp {

/// Null if it can't be read or is not text.
std::shared_ptr<const std::string> read_text(const std::string& path);
/// The same findings have the same id, so a client that has them is told so.
std::string result_id_of(const Json& items);
/// The first workspace folder that holds `path`; null: none does.
const std::string* folder_of(const std::string& path, const std::vector<std::string>& roots);

/// What is known of one file. Its findings' ranges are of `text`.
struct Reviews::Document {
  std::shared_ptr<const std::string> text;
  std::vector<assist::Finding> findings;
  std::shared_ptr<Work> work;  ///< the newest, while it is under way
  bool reviewed = false;       ///< there has been an answer
  /// The result id last given to the client, which begins with no findings.
  std::string told = result_id_of(Json::array());
  struct Waiting {
    Reply reply;
    std::string previous_result_id;
  };
  std::vector<Waiting> waiting;
  std::unique_ptr<boost::asio::steady_timer> recheck;
};

/// One review under way, a source after the other: the grammar, then, where wanted, the models.
struct Reviews::Work {
  std::string uri;
  assist::ReviewInput input;
  bool only_removes = false;  ///< while typing
  bool model = false;         ///< ask the model when the grammar is done
  bool reasons = false;       ///< and then the one that reasons, where there is one
  assist::FindingSource source = assist::FindingSource::syntax;  ///< whose turn it is
  bool model_runs = false;
  size_t found = 0;
  std::vector<std::string> notes;
  std::function<void(const Work&)> then;  ///< called once, however it ends
};

}  // namespace cambium::lsp
