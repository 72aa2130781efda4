#include "lsp/handlers/suggest.h"

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

#include "lsp/session.h"

namespace cambium::lsp {

/// One ask under way. Lives in the engine's callback and in the queue of a loading model.
struct Suggester::Run {
  Run(Reply reply_in, Render render_in)
      : reply(std::move(reply_in)), abandon(reply.abandoner()), render(std::move(render_in)) {}

  Reply reply;
  std::function<void(Json)> abandon;
  Render render;
  std::string method;
  std::shared_ptr<const Snapshot> snapshot;
  assist::CompletionInput input;
  engine::CancelFlag cancel = engine::make_cancel_flag();
  std::chrono::steady_clock::time_point start = std::chrono::steady_clock::now();
  bool superseded = false;
};

Suggester::Refusal Suggester::refusal(const std::string& uri, const std::string& language_id) {
  const std::string path = path_of_uri(uri);
  const Config& config = session_.settings_for(path).config();
  if (!config.completion_enabled) return {"suggestions are turned off", ""};
  const auto& disabled = config.completion_disabled_languages;
  if (std::find(disabled.begin(), disabled.end(), language_id) != disabled.end()) {
    return {"suggestions are turned off for " + language_id, ""};
  }
  std::string problem = session_.documents().problem(uri);
  if (!problem.empty()) return {"", std::move(problem)};
  // Other schemes (a notebook's cell, a remote file) have a name, but no ignore files that can be
  // read.
  if (!path.empty()) return {session_.privacy().why_private(path), ""};
  if (assist::names_secrets(path_part_of_uri(uri))) {
    return {"files of this name hold secrets and are never read", ""};
  }
  return {};
}

void Suggester::suggest(const Ask& ask, Reply reply, Render render) {
  Stats& stats = session_.context().stats;
  ++stats.requests;
  const std::string key = ask.method + '\n' + ask.at.uri;
  if (const auto older = newest_[key].lock()) {
    older->superseded = true;
    older->abandon(older->render({}, nullptr));
  }
  newest_.erase(key);

  const auto snapshot = session_.documents().snapshot(ask.at.uri);
  const Refusal refused = refusal(ask.at.uri, snapshot ? snapshot->language_id : std::string());
  session_.status().set_document(refused.off, refused.problem);
  if (!refused.off.empty() || !refused.problem.empty() || !snapshot) {
    ++stats.empty;
    reply(render({}, nullptr));
    return;
  }
  const auto cursor = snapshot->lines.offset(*snapshot->text, ask.at.position, session_.encoding());
  if (!cursor) {
    ++stats.failed;
    reply.fail(RpcCode::invalid_params, "position: line " + std::to_string(ask.at.position.line) +
                                            " is past the last line " +
                                            std::to_string(snapshot->lines.line_count() - 1));
    return;
  }

  auto run = std::make_shared<Run>(std::move(reply), std::move(render));
  run->method = ask.method;
  run->snapshot = snapshot;
  run->input.text = snapshot->text;
  run->input.cursor = *cursor;
  run->input.path = snapshot->path.empty() ? path_part_of_uri(ask.at.uri) : snapshot->path;
  run->input.language_id = snapshot->language_id;
  run->input.scopes = snapshot->scopes;
  run->input.tree = snapshot->tree;
  run->input.cancel = run->cancel;
  if (ask.selected) {
    const auto begin =
        snapshot->lines.offset(*snapshot->text, ask.selected->range.start, session_.encoding());
    if (begin && *begin <= *cursor) {
      run->input.has_selected = true;
      run->input.selected_text = ask.selected->text;
      run->input.selected_begin = *begin;
    }
  }
  const Config& config = session_.settings_for(snapshot->path).config();
  run->input.settings.max_tokens = config.completion_max_tokens;
  run->input.settings.prompt_tokens = config.completion_prompt_tokens;
  run->input.settings.multiline = ask.multiline && config.completion_multiline;

  newest_[key] = run;
  session_.status().request_started();
  run->reply.on_abandoned([weak = std::weak_ptr<Run>(run), session = session_.weak_from_this()] {
    const auto abandoned = weak.lock();
    const auto owner = session.lock();
    if (abandoned) abandoned->cancel->store(true);
    if (!owner) return;
    Stats& counts = owner->context().stats;
    ++(abandoned && abandoned->superseded ? counts.superseded : counts.cancelled);
    owner->status().request_ended();
  });
  ask_model(run);
}

void Suggester::ask_model(const std::shared_ptr<Run>& run) {
  session_.context().model->acquire(
      [run, weak = session_.weak_from_this()](const Result<LoadedModel>& model) {
        const auto session = weak.lock();
        if (!session || run->cancel->load()) return;  // answered already
        if (!model) {
          ++session->context().stats.failed;
          session->status().set_failure(model.error().message);
          session->status().request_ended();
          run->reply(run->render({}, nullptr));
          return;
        }
        ServerContext& context = session->context();
        const std::weak_ptr<ModelHost> host = context.model;
        const int64_t kept = context.model->keep(*model);
        const auto completions = context.pool->completions(*model);
        completions->complete(run->input, [run, weak, host, kept, strand = context.strand](
                                              Result<assist::CompletionOutput> output) {
          boost::asio::post(strand, [run, weak, host, kept, output = std::move(output)] {
            if (const auto owner = weak.lock(); owner && !run->cancel->load()) {
              owner->suggester().deliver(*run, output);
            }
            if (const auto still = host.lock()) still->release(kept);
          });
        });
      });
}

void Suggester::deliver(Run& run, const Result<assist::CompletionOutput>& output) {
  Stats& stats = session_.context().stats;
  std::vector<Suggestion> suggestions;
  if (output) {
    suggestions = convert(run, *output);
    if (suggestions.empty()) {
      ++stats.empty;
      if (!output->dropped.empty()) session_.log()->debug("not shown: {}", output->dropped);
    } else {
      const std::chrono::duration<double, std::milli> spent =
          std::chrono::steady_clock::now() - run.start;
      stats.answered(spent.count(), output->timings, output->route);
      session_.log()->debug("{}: {}", output->route.model, output->route.reason);
    }
  } else {
    ++stats.failed;
    session_.log()->warn("{}: {}", run.method, output.error().message);
    session_.status().set_failure(output.error().message);
  }
  session_.status().request_ended();
  run.reply(run.render(suggestions, run.snapshot.get()));
}

std::vector<Suggestion> Suggester::convert(const Run& run, const assist::CompletionOutput& output) {
  const Snapshot& snapshot = *run.snapshot;
  const std::string_view text = *snapshot.text;
  std::vector<Suggestion> out;
  for (const assist::CompletionItem& item : output.items) {
    const bool in_text = item.replace_begin <= item.replace_end && item.replace_end <= text.size();
    const bool on_one_line = in_text && snapshot.lines.line_of(item.replace_begin) ==
                                            snapshot.lines.line_of(item.replace_end);
    // A suggestion that does not extend the popup's choice is hidden by clients, or worse, shown.
    const bool extends = !run.input.has_selected || item.text.starts_with(run.input.selected_text);
    if (item.text.empty() || !on_one_line || !extends) {
      session_.log()->debug("a suggestion was dropped: {}", !on_one_line
                                                                ? "its range spans lines"
                                                                : "it is empty or does not extend "
                                                                  "the selected one");
      continue;
    }
    Suggestion& suggestion = out.emplace_back();
    suggestion.text = item.text;
    suggestion.begin = item.replace_begin;
    suggestion.end = item.replace_end;
    suggestion.range.start = snapshot.lines.position(text, item.replace_begin, session_.encoding());
    suggestion.range.end = snapshot.lines.position(text, item.replace_end, session_.encoding());
    const std::string id = session_.context().stats.suggested(
        static_cast<uint32_t>(count_units(item.text, PositionEncoding::utf16)));
    suggestion.accepted = {"Accepted", "cambium.accepted", {id}};
  }
  return out;
}

}  // namespace cambium::lsp
