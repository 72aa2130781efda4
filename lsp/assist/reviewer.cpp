#include "lsp/assist/reviewer.h"

#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <utility>

#include "lsp/assist/git.h"
#include "lsp/assist/likelihood_findings.h"
#include "lsp/assist/line_diff.h"
#include "lsp/assist/privacy.h"
#include "lsp/assist/review_likelihood.h"
#include "lsp/assist/review_reasoning.h"
#include "syntax/problems.h"

namespace cambium::assist {
namespace {

using Clock = std::chrono::steady_clock;

/// A text that takes longer to parse is not what people write.
constexpr std::chrono::milliseconds kParseTime{2000};
constexpr size_t kHead = 2000;            ///< where a generated file says that it is
constexpr size_t kMostModelLines = 2000;  ///< of one review
constexpr size_t kLongLine = 5000;        ///< minified

bool raised(const engine::CancelFlag& flag) {
  return flag && flag->load(std::memory_order_relaxed);
}

tl::unexpected<Error> cancelled() { return fail(ErrorCode::cancelled, "the review was cancelled"); }

struct Changes {
  std::vector<syntax::ByteRange> ranges;
  std::string before;  ///< the base's text
  bool has_base = false;
};

Changes changes_of(const ReviewInput& input) {
  const auto size = static_cast<uint32_t>(input.text->size());
  Changes changes;
  if (input.extent == ReviewExtent::range) {
    changes.ranges = {{std::min(input.range.begin, size), std::min(input.range.end, size)}};
    return changes;
  }
  changes.ranges = {{0, size}};
  if (input.extent == ReviewExtent::whole || input.path.empty()) return changes;
  auto base = text_in_revision(input.path, input.base_revision);
  if (!base) return changes;  // new, or under no version control: all of it is to be reviewed
  changes.has_base = true;
  changes.before = std::move(*base);
  changes.ranges = changed_lines(changes.before, *input.text);
  return changes;
}

std::shared_ptr<const syntax::Tree> tree_of(const syntax::Language* language, std::string_view text,
                                            const engine::CancelFlag& cancel) {
  if (language == nullptr) return nullptr;
  auto tree =
      syntax::Parser(*language).parse(text, nullptr, {.time = kParseTime, .cancel = cancel.get()});
  return tree ? std::make_shared<const syntax::Tree>(std::move(*tree)) : nullptr;
}

/// Errors on changed lines; and those elsewhere that the change brought, a brace that went missing.
void add_syntax(const Changes& changes, const syntax::Tree& tree, std::string_view text,
                const engine::CancelFlag& cancel, ReviewOutput& out) {
  syntax::Problems problems = syntax::find_problems(tree, text);
  if (problems.found.empty()) return;
  bool was_clean = false;
  if (changes.has_base) {
    const auto before = tree_of(&tree.language(), changes.before, cancel);
    was_clean = before && !before->has_error();
  }
  for (syntax::Problem& problem : problems.found) {
    if (!was_clean && !touches(changes.ranges, problem.range)) continue;
    Finding finding;
    finding.source = FindingSource::syntax;
    finding.code = "syntax/" + std::string(problem.kind);
    finding.severity = Severity::error;
    finding.range = problem.range;
    finding.message = std::move(problem.message);
    if (problem.fix) {
      finding.fix = Fix{std::move(problem.fix->title),
                        {{problem.fix->range, std::move(problem.fix->replacement)}}};
    }
    finding.fingerprint = fingerprint_of(finding, text);
    out.findings.push_back(std::move(finding));
  }
  if (problems.left_out > 0) {
    out.notes.push_back(std::to_string(problems.left_out) +
                        " more places do not parse; the first ones are reported");
  }
}

/// What a model that reasons says of the change.
Result<void> add_reasoning(const ReviewInput& input, const Changes& changes,
                           const syntax::Tree& tree, ReviewOutput& out) {
  Privacy privacy;
  const WorkspaceTools tools(
      input.workspace, [&](const std::string& path) { return !privacy.why_private(path).empty(); });
  ReasoningInput question;
  question.text = *input.text;
  question.path = input.path;
  question.tree = &tree;
  question.changed = changes.ranges;
  question.rules = input.rules;
  question.tools = input.workspace.empty() ? nullptr : &tools;
  question.cancel = input.cancel;
  auto review = reasoning_review(*input.assistant, question);
  if (!review) return tl::unexpected(review.error());
  for (Finding& finding : review->findings) out.findings.push_back(std::move(finding));
  for (std::string& note : review->notes) out.notes.push_back(std::move(note));
  return {};
}

/// What the model would have written otherwise on changed lines.
Result<void> add_likelihood(const ReviewInput& input, const Changes& changes,
                            const syntax::Tree& tree, ReviewOutput& out) {
  const std::string_view text = *input.text;
  size_t lines = 0, left_out = 0;
  for (syntax::FunctionSites& function : syntax::review_sites(tree, text, changes.ranges)) {
    if (lines >= kMostModelLines) {
      left_out += count_lines(text, {function.range});
      continue;
    }
    std::erase_if(function.sites,
                  [&](const syntax::Site& site) { return !touches(changes.ranges, site.range); });
    if (function.sites.empty()) continue;
    lines += count_lines(text, {function.range});
    auto found = suspicions(*input.generator, &tree.language(), input.path, text, function, {},
                            input.cancel);
    if (!found && found.error().code == ErrorCode::unsupported) {
      out.notes.push_back(found.error().message);
      return {};
    }
    if (!found) return tl::unexpected(found.error());
    for (Finding& finding : likelihood_findings(*found, tree.language(), text)) {
      out.findings.push_back(std::move(finding));
    }
  }
  if (left_out > 0) {
    out.notes.push_back(std::to_string(left_out) +
                        " lines of functions were left out: the model reads " +
                        std::to_string(kMostModelLines) + " of one review");
  }
  return {};
}

}  // namespace

std::string why_not_reviewed(std::string_view text) {
  const std::string_view head = text.substr(0, kHead);
  for (const std::string_view mark : {"@generated", "DO NOT EDIT", "Do not edit", "do not edit",
                                      "utomatically generated", "utogenerated", "uto-generated"}) {
    if (head.find(mark) != head.npos) return "generated: its head says '" + std::string(mark) + "'";
  }
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    if (end - at > kLongLine) return "minified: it has lines of more than 5,000 bytes";
    at = end + 1;
  }
  return {};
}

Result<ReviewOutput> review_now(const ReviewInput& input) {
  const auto start = Clock::now();
  ReviewOutput out;
  const std::string_view text = *input.text;
  if (raised(input.cancel)) return cancelled();
  if (text.size() > syntax::kMaxText) {
    out.notes.push_back("the file is larger than 8 MiB and was not reviewed");
    return out;
  }
  if (const std::string why = why_not_reviewed(text); !why.empty()) {
    out.notes.push_back("not reviewed, " + why);
    return out;
  }
  const syntax::Language* language =
      input.language_id.empty() ? nullptr : syntax::language_by_id(input.language_id);
  if (language == nullptr) language = syntax::language_of_file(input.path, text.substr(0, 256));
  const Changes changes = changes_of(input);
  out.lines = count_lines(text, changes.ranges);
  auto tree = input.tree ? input.tree : tree_of(language, text, input.cancel);
  if (raised(input.cancel)) return cancelled();
  if (!tree) {
    out.notes.push_back(language == nullptr ? "not reviewed: no grammar for this kind of file"
                                            : "not reviewed: it takes too long to parse");
    return out;
  }
  if (input.syntax) add_syntax(changes, *tree, text, input.cancel, out);
  if (input.generator && !raised(input.cancel)) {
    if (auto added = add_likelihood(input, changes, *tree, out); !added) {
      return tl::unexpected(added.error());
    }
  }
  if (input.assistant && tree->language().programming && !raised(input.cancel)) {
    if (auto added = add_reasoning(input, changes, *tree, out); !added) {
      return tl::unexpected(added.error());
    }
  }
  sort_findings(out.findings);
  out.ms = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
  return out;
}

struct Reviewer::Impl {
  void run() {
    for (;;) {
      std::function<void()> task;
      {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return !tasks.empty() || stopping; });
        if (tasks.empty()) return;
        task = std::move(tasks.front());
        tasks.pop_front();
      }
      task();
    }
  }

  std::mutex mutex;
  std::condition_variable wake;
  std::deque<std::function<void()>> tasks;
  engine::CancelFlag running;  ///< of the review under way
  bool stopping = false;
  std::thread thread;
};

Reviewer::Reviewer() : impl_(std::make_shared<Impl>()) {
  impl_->thread = std::thread([impl = impl_] { impl->run(); });
}

Reviewer::~Reviewer() {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->stopping = true;
    if (impl_->running) impl_->running->store(true);
  }
  impl_->wake.notify_all();
  // A callback may drop the last reference: then the thread ends by itself.
  if (impl_->thread.get_id() == std::this_thread::get_id()) {
    impl_->thread.detach();
  } else {
    impl_->thread.join();
  }
}

void Reviewer::post(std::function<void()> task) {
  {
    const std::lock_guard lock(impl_->mutex);
    impl_->tasks.push_back(std::move(task));
  }
  impl_->wake.notify_one();
}

void Reviewer::review(ReviewInput input, Done done) {
  if (!input.cancel) input.cancel = engine::make_cancel_flag();
  post([impl = impl_.get(), input = std::move(input), done = std::move(done)] {
    {
      const std::lock_guard lock(impl->mutex);
      impl->running = input.cancel;
      if (impl->stopping) input.cancel->store(true);
    }
    auto output = review_now(input);
    {
      const std::lock_guard lock(impl->mutex);
      impl->running.reset();
    }
    done(std::move(output));
  });
}

}  // namespace cambium::assist
