// cambium.review: a file, a selection, or all that is not committed, one file after the other.
#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "lsp/assist/git.h"
#include "lsp/handlers/review_parts.h"
#include "lsp/session.h"

namespace cambium::lsp {

namespace {
constexpr size_t kMostFiles = 200;  ///< of a diff
}  // namespace

/// One `cambium.review`.
struct Reviews::Batch {
  explicit Batch(Reply answer) : reply(std::move(answer)) {}
  Reply reply;
  std::vector<std::string> uris;
  std::optional<Range> range;
  assist::ReviewExtent extent = assist::ReviewExtent::whole;
  std::shared_ptr<ProgressReporter::Work> progress;
  size_t next = 0, findings = 0;
  std::vector<std::string> notes;
  engine::CancelFlag cancel = engine::make_cancel_flag();
};

void Reviews::review(const Demand& demand, Reply reply) {
  auto batch = std::make_shared<Batch>(std::move(reply));
  batch->range = demand.range;
  batch->extent = demand.diff    ? assist::ReviewExtent::changes
                  : demand.range ? assist::ReviewExtent::range
                                 : assist::ReviewExtent::whole;
  batch->reply.on_abandoned([cancel = batch->cancel] { cancel->store(true); });
  batch->progress =
      session_.progress().begin(demand.token, {.title = "Cambium: review", .counts = true},
                                [cancel = batch->cancel] { cancel->store(true); });
  if (!demand.diff) {
    batch->uris.push_back(demand.uri);
    return review_files(batch);
  }
  // git may take a while.
  session_.context().reviewer->post([batch, roots = session_.roots(),
                                     weak = session_.weak_from_this(),
                                     strand = session_.context().strand] {
    for (const std::string& root : roots) {
      auto files = assist::files_changed_since(root, "HEAD");
      if (!files) {
        batch->notes.push_back(files.error().message);
        continue;
      }
      for (const std::string& file : *files) {
        if (batch->uris.size() < kMostFiles) batch->uris.push_back(uri_of_path(file));
      }
      if (files->size() > kMostFiles) {
        batch->notes.push_back("the first " + std::to_string(kMostFiles) + " of " +
                               std::to_string(files->size()) + " changed files were reviewed");
      }
    }
    boost::asio::post(strand, [batch, weak] {
      if (const auto session = weak.lock()) session->reviews().review_files(batch);
    });
  });
}

void Reviews::review_files(const std::shared_ptr<Batch>& batch) {
  if (batch->next == batch->uris.size() || batch->cancel->load()) {
    batch->progress->end(std::to_string(batch->findings) + " findings");
    batch->reply({{"findings", batch->findings}, {"files", batch->next}, {"notes", batch->notes}});
    return;
  }
  const std::string uri = batch->uris[batch->next++];
  batch->progress->report(path_part_of_uri(uri),
                          static_cast<int>(100 * (batch->next - 1) / batch->uris.size()));
  auto work = std::make_shared<Work>();
  work->uri = uri;
  work->model = true;
  work->reasons = true;
  work->input.extent = batch->extent;
  work->input.cancel = batch->cancel;
  if (batch->range) {
    const auto snapshot = session_.documents().snapshot(uri);
    const auto begin =
        snapshot ? snapshot->lines.offset(*snapshot->text, batch->range->start, session_.encoding())
                 : std::nullopt;
    const auto end =
        snapshot ? snapshot->lines.offset(*snapshot->text, batch->range->end, session_.encoding())
                 : std::nullopt;
    if (!begin || !end || *begin > *end) {
      batch->progress->end("");
      return batch->reply.fail(RpcCode::invalid_params, "range: lies outside the text of " + uri);
    }
    work->input.range = {static_cast<uint32_t>(*begin), static_cast<uint32_t>(*end)};
  }
  work->then = [batch, weak = session_.weak_from_this()](const Work& done) {
    batch->findings += done.found;
    for (const std::string& note : done.notes) {  // of a folder: once
      if (std::find(batch->notes.begin(), batch->notes.end(), note) == batch->notes.end()) {
        batch->notes.push_back(note);
      }
    }
    if (const auto session = weak.lock()) session->reviews().review_files(batch);
  };
  start(uri, std::move(work));
}

}  // namespace cambium::lsp
