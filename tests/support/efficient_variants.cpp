#include "layers/attention/linear_attention.h"
#include "layers/attention/performer.h"
#include "layers/attention/relative.h"
#include "tests/support/attention_variants.h"

namespace attune::testing {

void add_efficient_variants(std::vector<AttentionVariant>& variants) {
  using Core = std::unique_ptr<AttentionCore>;
  // Biases take the quadratic form; the linear one is tested beside it in linear_attention_test.cpp.
  variants.push_back({.name = "linear", .make = [](int64_t) -> Core { return std::make_unique<LinearAttention>(); }});
  variants.push_back({.name = "Performer", .make = [](int64_t) -> Core {
                        RandomStream stream(8);
                        return std::make_unique<Performer>(4, PerformerOptions{.features = 6}, stream);
                      }});
  for (const bool values : {false, true}) {
    variants.push_back(
        {.name = values ? "relative" : "relative, keys alone",
         .make = [=](int64_t) -> Core {
           return std::make_unique<RelativeAttention>(
               4, RelativeAttentionOptions{.max_distance = 2, .values = values, .align = Align::kFirst});
         },
         .value = 4,
         .output = values ? AttentionVariant::Output::kOther : AttentionVariant::Output::kWeightedValues});
  }
}

}  // namespace attune::testing
