#include "lsp/assist/review_calibration.h"

#include <algorithm>
#include <cmath>

#include "lsp/assist/review_calibration_table.h"
#include "lsp/assist/review_likelihood.h"

namespace cambium::assist {

ReviewFeatures features_of(const Suspicion& suspicion) {
  const auto nats = [](double value, double low, double high) {
    return std::clamp(value, low, high) / 4;
  };
  const auto when = [](bool it_is) { return it_is ? 1.0 : 0.0; };
  const bool name = suspicion.kind == syntax::SiteKind::name;
  return {nats(suspicion.left, 0, 12), nats(suspicion.ahead, -12, 20),
          nats(suspicion.both, -12, 16), nats(suspicion.confidence, -20, 0),
          std::log1p(static_cast<double>(suspicion.alternatives)) / 2,
          // A variable that a slip took the only use of is used nowhere.
          when(name && suspicion.alternative_uses == 0),
          when(name && suspicion.alternative_uses == 1), when(name && suspicion.uses == 0),
          // A piece in which the model wants much otherwise is one that it does not know.
          std::log1p(static_cast<double>(suspicion.rivals)) / 2, nats(suspicion.chosen, -8, 0),
          // What follows against the alternative counts by another measure than what is for it.
          nats(suspicion.after, -4, 0), nats(suspicion.beyond, -8, 8),
          std::pow(nats(suspicion.ahead, 0, 20), 2) / 6,
          when(suspicion.alternative_elsewhere && !suspicion.written_elsewhere),
          when(suspicion.written_elsewhere)};
}

size_t review_language(std::string_view name) {
  const auto at = std::find(kReviewLanguages.begin(), kReviewLanguages.end(), name);
  return static_cast<size_t>(at - kReviewLanguages.begin());
}

double ReviewCalibration::score_of(const Suspicion& suspicion, std::string_view language) const {
  const KindCalibration& kind = kinds[static_cast<size_t>(suspicion.kind)];
  const ReviewFeatures features = features_of(suspicion);
  double sum = kind.bias;
  for (size_t i = 0; i < kReviewFeatures; ++i) sum += kind.weights[i] * features[i];
  const size_t index = review_language(language);
  return index < languages.size() ? sum + languages[index] : sum;
}

const ReviewCalibration& bundled_calibration() { return kBundledCalibration; }

}  // namespace cambium::assist
