#include "framework/kernels/cuda/formula.cuh"
#include "tests/cuda/formulas.h"

namespace attune::testing {
namespace {

struct Curved {
  float slope;

  template <class Number>
  ATTUNE_EVERYWHERE Number operator()(Number score, const ScoreAt& at) const {
    if (score > 2) return score - slope * (at.query + at.keys);
    return 0.3f * score * score - tanh(score) * slope * (at.head + 1) - slope * (at.query - at.key) + exp(-score);
  }
};

}  // namespace

ScoreFunction curved_scores(float slope) { return everywhere<float, double>(Curved{slope}); }

ScoreFunction capped_scores(float cap) {
  return with_cuda<double>(
      ScoreFunction([cap](auto score, const ScoreAt&) { return cap * std::tanh(score / cap); },
                    [cap](auto score, const ScoreAt&) {
                      const auto y = std::tanh(score / cap);
                      return 1 - y * y;
                    }),
      [cap] __device__(auto score, const ScoreAt&) { return cap * tanh(score / cap); },
      [cap] __device__(auto score, const ScoreAt&) {
        const auto y = tanh(score / cap);
        return 1 - y * y;
      });
}

MaskFunction striped_keys(int step) {
  return with_cuda(
      MaskFunction([step](const ScoreAt& at) { return at.key % step == at.batch % step && at.key <= at.query; }),
      [step] __device__(const ScoreAt& at) { return at.key % step == at.batch % step && at.key <= at.query; });
}

}  // namespace attune::testing
