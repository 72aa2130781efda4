#include "lsp/assist/assistant.h"

#include <algorithm>
#include <chrono>
#include <list>
#include <mutex>
#include <utility>

#include "engine/chat_defaults.h"
#include "engine/tokenizer.h"
#include "lsp/assist/cascade.h"
#include "lsp/assist/json_constraint.h"
#include "lsp/assist/text_window.h"
#include "lsp/assist/thinking.h"

namespace cambium::assist {

namespace {

using Clock = std::chrono::steady_clock;
using engine::ChatMessage;
using GeneratorPtr = std::shared_ptr<engine::Generator>;

constexpr size_t kSummariesKept = 32;
constexpr size_t kClassified = 2000;        ///< bytes of a question that the general model sees
constexpr int32_t kAssumedContext = 16384;  ///< of an engine that does not say

double ms_since(Clock::time_point start) {
  return std::chrono::duration<double, std::milli>(Clock::now() - start).count();
}

CountTokens counter_of(const GeneratorPtr& generator) {
  const engine::Tokenizer* tokenizer = generator->tokenizer();
  if (tokenizer == nullptr) return estimated_tokens;
  return [generator, tokenizer](std::string_view text) {
    return static_cast<int32_t>(tokenizer->encode(text).size());
  };
}

/// Ends the message before as well: no text holds these bytes.
std::string_view speaker_mark(ChatMessage::Role role) {
  switch (role) {
    case ChatMessage::Role::system:
      return "\xFC";
    case ChatMessage::Role::user:
      return "\xFD";
    case ChatMessage::Role::assistant:
      return "\xFE";
  }
  return "\xFD";
}

/// FNV-1a.
uint64_t hash_of(const std::vector<ChatMessage>& messages, size_t end) {
  uint64_t hash = 0xcbf29ce484222325;
  const auto add = [&](std::string_view bytes) {
    for (const char c : bytes) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  };
  for (size_t i = 0; i < end; ++i) {
    add(speaker_mark(messages[i].role));
    add(messages[i].content);
  }
  return hash;
}

/// A model that takes no system prompt gets it as the head of the first user message.
void move_system_prompt(std::vector<ChatMessage>& messages) {
  std::string system;
  while (!messages.empty() && messages.front().role == ChatMessage::Role::system) {
    system += messages.front().content + "\n\n";
    messages.erase(messages.begin());
  }
  if (system.empty()) return;
  if (messages.empty()) messages.push_back({ChatMessage::Role::user, ""});
  messages.front().content.insert(0, system);
}

/// Of a cascade: why this model answers.
void add_reason(Route& route, const std::string& why) {
  route.cascade = true;
  route.reason += "; " + why;
}

/// The model's word for a topic in what it said; nothing if it said none.
std::optional<Topic> topic_in(std::string_view answer) {
  std::optional<Topic> found;
  size_t first = std::string_view::npos;
  for (const Topic topic : {Topic::code, Topic::reasoning, Topic::general}) {
    const size_t at = answer.find(to_string(topic));
    if (at < first) {
      first = at;
      found = topic;
    }
  }
  return found;
}

}  // namespace

/// Shared with callbacks of the engines, which may outlive the Assistant.
struct Assistant::State : std::enable_shared_from_this<Assistant::State> {
  State(std::shared_ptr<Models> models_in, AssistantOptions options_in)
      : models(std::move(models_in)), options(options_in) {}

  struct Run {
    Run(Question question_in, OnPiece on_piece_in, OnAnswer on_answer_in)
        : question(std::move(question_in)),
          on_piece(std::move(on_piece_in)),
          on_answer(std::move(on_answer_in)) {}
    Question question;
    OnPiece on_piece;
    OnAnswer on_answer;
    Answer answer;

    /// A cascade: the answer of the small model is held back until it counts.
    enum class Turn : uint8_t { only, small, larger };
    Turn turn = Turn::only;
    double threshold = 0;
    std::vector<ChatMessage> messages;  ///< as they came, for the larger model
    Clock::time_point begun;
    std::optional<Answer> first;  ///< the small model's, until something of the larger one is shown

    bool cancelled() const { return question.cancel && question.cancel->load(); }
    void fail_with(Error error) { on_answer(tl::unexpected(std::move(error))); }
  };
  using RunPtr = std::shared_ptr<Run>;

  struct Remembered {
    uint64_t hash = 0;  ///< of the messages it covers
    EarlierSummary summary;
    std::string by;
  };

  void start(const RunPtr& run);
  void classify_by_model(const RunPtr& run);
  void choose(const RunPtr& run, const std::optional<Classified>& topic);
  void compact(const RunPtr& run, const GeneratorPtr& generator);
  void summarise(const RunPtr& run, const GeneratorPtr& generator, CompactionPlan plan);
  void send(const RunPtr& run, const GeneratorPtr& generator, const CompactionPlan& plan,
            const EarlierSummary& summary, std::string by);
  void use(const RunPtr& run, const GeneratorPtr& generator);
  void generate(const RunPtr& run, const GeneratorPtr& generator);
  void judge_small(const RunPtr& run, double confidence);
  void ask_larger(const RunPtr& run, const std::string& why);
  void answer_with_small(const RunPtr& run, const std::string& but);
  void give_up(const RunPtr& run, Error error);
  std::optional<Remembered> recall(const std::vector<ChatMessage>& messages);
  void remember(Remembered entry);
  int32_t budget(const Run& run, const engine::Capabilities& can) const;

  const std::shared_ptr<Models> models;
  const AssistantOptions options;
  JsonConstraints constraints;
  std::mutex mutex;
  std::list<Remembered> summaries;  ///< newest first
};

void Assistant::State::start(const RunPtr& run) {
  const auto& messages = run->question.messages;
  if (messages.empty() || messages.back().role != ChatMessage::Role::user) {
    return run->fail_with(
        {ErrorCode::invalid_argument, "the conversation must end with a message of the user"});
  }
  if (run->question.intent != Intent::chat || run->question.role) {
    return choose(run, std::nullopt);
  }
  if (options.classify_by_model && models->has(Role::general)) return classify_by_model(run);
  choose(run, classify(messages.back().content));
}

void Assistant::State::classify_by_model(const RunPtr& run) {
  const auto begin = Clock::now();
  models->acquire(Role::general, [self = shared_from_this(), run,
                                  begin](const Result<GeneratorPtr>& general) {
    const Classified by_rule = classify(run->question.messages.back().content);
    if (!general) return self->choose(run, by_rule);
    const std::string_view asked = run->question.messages.back().content;
    engine::Request request;
    request.text = engine::ChatPrompt{
        {{ChatMessage::Role::user,
          "Is this question about code, does it need reasoning, or is it general? Answer with one "
          "word: code, reasoning or general.\n\n" +
              std::string(asked.substr(0, floor_char_boundary(asked, kClassified)))}}};
    request.max_tokens = 8;
    request.cancel = run->question.cancel;
    request.priority = run->question.priority;
    (*general)->generate(std::move(request), nullptr,
                         [self, run, begin, by_rule](Result<engine::Generated> said) {
                           Classified found = by_rule;
                           if (const auto topic = said ? topic_in(said->text) : std::nullopt) {
                             found.topic = *topic;
                             found.why = "says the general model";
                           }
                           found.ms = ms_since(begin);
                           self->choose(run, found);
                         });
  });
}

void Assistant::State::choose(const RunPtr& run, const std::optional<Classified>& topic) {
  const Question& question = run->question;
  if (question.role) {
    run->answer.route = {*question.role, models->name(*question.role),
                         std::string("the ") + to_string(*question.role) + " model was asked for",
                         0};
  } else {
    auto chosen = route(question.intent, topic, *models);
    if (!chosen) return run->fail_with(chosen.error());
    run->answer.route = std::move(*chosen);
  }
  // Who asks for a model by its role gets that one.
  const auto cascade = question.role ? std::nullopt : models->cascade(run->answer.route.role);
  if (cascade) {
    run->turn = Run::Turn::small;
    run->threshold = cascade->threshold;
    run->messages = question.messages;
    run->begun = Clock::now();
  }
  models->acquire(run->answer.route.role,
                  [self = shared_from_this(), run](const Result<GeneratorPtr>& generator) {
                    if (!generator) return self->give_up(run, generator.error());
                    self->use(run, *generator);
                  });
}

void Assistant::State::use(const RunPtr& run, const GeneratorPtr& generator) {
  const engine::Capabilities can = generator->capabilities();
  run->answer.route.model = can.model;
  if (!can.chat) {
    return give_up(
        run,
        {ErrorCode::unsupported,
         "the model " + can.model +
             " has no chat template that is known here, so it cannot answer in words; give the "
             "role \"general\" an instruct model in models.json"});
  }
  compact(run, generator);
}

/// A model failed. The larger one stands in for the small one, and the small one's answer is better than
/// none if nothing else has been shown.
void Assistant::State::give_up(const RunPtr& run, Error error) {
  if (run->turn == Run::Turn::small && !run->cancelled()) {
    return ask_larger(run, "the small model failed: " + error.message);
  }
  if (run->turn == Run::Turn::larger && run->first) return answer_with_small(run, error.message);
  run->fail_with(std::move(error));
}

/// The small model's answer is in run->answer; it is shown, or the larger model is asked.
void Assistant::State::judge_small(const RunPtr& run, double confidence) {
  const Doubt doubt = doubt_about(confidence, !run->answer.text.empty(), run->threshold);
  run->answer.route.confidence = confidence;
  if (doubt.ask_larger && !run->cancelled()) {
    run->first = run->answer;
    return ask_larger(run, doubt.reason);
  }
  add_reason(run->answer.route, doubt.reason);
  run->first = std::move(run->answer);
  answer_with_small(run, "");
}

void Assistant::State::ask_larger(const RunPtr& run, const std::string& why) {
  run->turn = Run::Turn::larger;
  run->question.messages = run->messages;
  run->answer.compaction = {};
  Route& route = run->answer.route;
  add_reason(route, why);
  if (run->first) add_reason(run->first->route, why);
  route.small_ms = ms_since(run->begun);
  route.larger = true;
  models->acquire_larger(route.role,
                         [self = shared_from_this(), run](const Result<GeneratorPtr>& larger) {
                           if (!larger) return self->give_up(run, larger.error());
                           self->use(run, *larger);
                         });
}

/// `but`: why the larger model does not answer; empty: nobody asked it.
void Assistant::State::answer_with_small(const RunPtr& run, const std::string& but) {
  run->answer = std::move(*run->first);
  if (!but.empty()) run->answer.route.reason += "; the larger model does not answer: " + but;
  if (run->on_piece && !run->answer.thinking.empty()) {
    run->on_piece({AnswerPiece::Kind::thinking, run->answer.thinking});
  }
  if (run->on_piece) run->on_piece({AnswerPiece::Kind::text, run->answer.text});
  run->on_answer(std::move(run->answer));
}

int32_t Assistant::State::budget(const Run& run, const engine::Capabilities& can) const {
  if (options.conversation_tokens > 0) return options.conversation_tokens;
  const int32_t context = can.context > 0 ? can.context : kAssumedContext;
  return std::max(256, std::min(context / 2, context - run.question.max_tokens - 64));
}

void Assistant::State::compact(const RunPtr& run, const GeneratorPtr& generator) {
  const engine::Capabilities can = generator->capabilities();
  const CountTokens count = counter_of(generator);
  const auto& messages = run->question.messages;
  Compaction& report = run->answer.compaction;
  report.messages_before = report.messages_after = messages.size();
  report.tokens_before = report.tokens_after = conversation_tokens(messages, count);
  report.kv_bytes_before = report.kv_bytes_after =
      static_cast<uint64_t>(report.tokens_before) * can.kv_bytes_per_token;
  const int32_t limit = budget(*run, can);
  if (report.tokens_before <= limit) return generate(run, generator);

  const auto earlier = recall(messages);
  if (earlier) {
    const CompactionPlan plan = plan_again(messages, earlier->summary);
    const auto shorter = compacted(messages, plan, earlier->summary.text);
    if (conversation_tokens(shorter, count) <= limit) {
      return send(run, generator, plan, earlier->summary, earlier->by);
    }
  }
  CompactionPlan plan =
      plan_compaction(messages, limit, count, earlier ? &earlier->summary : nullptr);
  if (!plan.needed()) return generate(run, generator);  // one message, and it is all
  summarise(run, generator, std::move(plan));
}

void Assistant::State::summarise(const RunPtr& run, const GeneratorPtr& generator,
                                 CompactionPlan plan) {
  const auto begin = Clock::now();
  const auto finish = [self = shared_from_this(), run, generator, begin](
                          const CompactionPlan& done, std::string text, std::string by) {
    if (text.empty()) {
      text = summary_by_rule(done, counter_of(generator));
      by = "rule";
    }
    run->answer.compaction.ms = ms_since(begin);
    const EarlierSummary summary{done.end, std::move(text)};
    self->remember({hash_of(run->question.messages, done.end), summary, by});
    self->send(run, generator, done, summary, std::move(by));
  };
  if (!models->has(Role::general)) return finish(plan, "", "");
  models->acquire(Role::general, [finish, run,
                                  plan = std::move(plan)](const Result<GeneratorPtr>& general) {
    if (!general || !(*general)->capabilities().chat) return finish(plan, "", "");
    const engine::Capabilities can = (*general)->capabilities();
    const int32_t room = (can.context > 0 ? can.context : kAssumedContext) - plan.summary_tokens;
    auto messages = summary_request(plan);
    if (conversation_tokens(messages, counter_of(*general)) + 64 > room) {
      return finish(plan, "", "");
    }
    engine::Request request;
    request.text = engine::ChatPrompt{std::move(messages)};
    request.max_tokens = plan.summary_tokens;
    request.sampling = can.chat_defaults.sampling;
    request.cancel = run->question.cancel;
    request.priority = run->question.priority;
    (*general)->generate(std::move(request), nullptr,
                         [finish, plan, thinks = can.chat_defaults.thinks,
                          model = can.model](Result<engine::Generated> said) {
                           ThinkingSplitter splitter(thinks);
                           if (said) splitter.append(said->text);
                           splitter.finish();
                           finish(plan, splitter.text(), model);
                         });
  });
}

void Assistant::State::send(const RunPtr& run, const GeneratorPtr& generator,
                            const CompactionPlan& plan, const EarlierSummary& summary,
                            std::string by) {
  auto& messages = run->question.messages;
  messages = compacted(messages, plan, summary.text);
  Compaction& report = run->answer.compaction;
  report.compacted = true;
  report.messages_after = messages.size();
  report.tokens_after = conversation_tokens(messages, counter_of(generator));
  report.kv_bytes_after =
      static_cast<uint64_t>(report.tokens_after) * generator->capabilities().kv_bytes_per_token;
  report.summary_by = std::move(by);
  generate(run, generator);
}

void Assistant::State::generate(const RunPtr& run, const GeneratorPtr& generator) {
  if (run->cancelled()) {
    run->answer.stop = engine::StopReason::cancelled;
    return run->on_answer(std::move(run->answer));
  }
  const engine::ChatDefaults defaults = generator->capabilities().chat_defaults;
  Question& question = run->question;
  engine::Request request;
  std::vector<ChatMessage> messages = std::move(question.messages);
  if (!defaults.system_prompt) move_system_prompt(messages);
  request.text = engine::ChatPrompt{std::move(messages)};
  request.max_tokens = question.max_tokens;
  request.sampling = question.sampling.value_or(defaults.sampling);
  if (!question.sampling && question.exact && request.sampling.temperature > 0) {
    request.sampling.temperature = engine::kExactTemperature;
  }
  request.priority = question.priority;
  request.cancel = question.cancel;
  request.slot_key = question.slot_key;
  request.logprobs = run->turn == Run::Turn::small;
  constraints.apply(request, generator, question.form);

  const auto splitter = std::make_shared<ThinkingSplitter>(defaults.thinks);
  const auto show = [run](const ThinkingSplitter::Shown& shown) {
    if (!run->on_piece || run->turn == Run::Turn::small) return;
    if (!shown.thinking.empty() || !shown.text.empty()) run->first.reset();
    if (!shown.thinking.empty()) run->on_piece({AnswerPiece::Kind::thinking, shown.thinking});
    if (!shown.text.empty()) run->on_piece({AnswerPiece::Kind::text, shown.text});
  };
  generator->generate(
      std::move(request),
      [splitter, show](std::string_view piece) { show(splitter->append(piece)); },
      // Holds the model too: it may be unloaded meanwhile.
      [splitter, show, run, generator,
       self = shared_from_this()](Result<engine::Generated> generated) {
        if (!generated) return self->give_up(run, generated.error());
        show(splitter->finish());
        run->answer.text = splitter->text();
        run->answer.thinking = splitter->thinking();
        run->answer.stop = generated->stop;
        run->answer.timings = generated->timings;
        if (run->turn == Run::Turn::small) {
          return self->judge_small(run, mean_probability(generated->logprobs));
        }
        run->on_answer(std::move(run->answer));
      });
}

std::optional<Assistant::State::Remembered> Assistant::State::recall(
    const std::vector<ChatMessage>& messages) {
  const std::lock_guard lock(mutex);
  std::optional<Remembered> best;
  for (const Remembered& entry : summaries) {
    const size_t end = entry.summary.end;
    if (end >= messages.size() || (best && end <= best->summary.end)) continue;
    if (hash_of(messages, end) == entry.hash) best = entry;
  }
  return best;
}

void Assistant::State::remember(Remembered entry) {
  const std::lock_guard lock(mutex);
  summaries.push_front(std::move(entry));
  if (summaries.size() > kSummariesKept) summaries.pop_back();
}

Assistant::Assistant(std::shared_ptr<Models> models, AssistantOptions options)
    : state_(std::make_shared<State>(std::move(models), options)) {}

bool Assistant::has(Role role) const { return state_->models->has(role); }

bool Assistant::answers(Intent intent) const {
  return route(intent, std::nullopt, *state_->models).has_value();
}

void Assistant::ask(Question question, OnPiece on_piece, OnAnswer on_answer) const {
  state_->start(
      std::make_shared<State::Run>(std::move(question), std::move(on_piece), std::move(on_answer)));
}

}  // namespace cambium::assist
