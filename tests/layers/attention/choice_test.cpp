#include "layers/attention/choice.h"

#include <catch2/catch_test_macros.hpp>

#include <set>
#include <typeinfo>

#include "autograd/ops/ops.h"
#include "framework/error.h"
#include "layers/attention/global.h"
#include "layers/attention/history.h"
#include "layers/attention/image.h"
#include "layers/attention/local.h"
#include "layers/attention/location.h"
#include "layers/attention/monotonic.h"
#include "layers/attention/scaled_dot_product.h"
#include "tests/support/errors.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

/// A decoder that takes its attention by name and looks at the memory once per step.
struct Decoder : Module {
  explicit Decoder(const AttentionChoice& choice) : attention(own("attention", make_attention(choice))) {}

  Variable operator()(const Variable& queries, const Variable& keys, const AttentionMask& mask) {
    const AttentionMemory memory = attention.prepare(keys, keys, mask, queries.dim(1));
    AttentionState state;
    std::vector<Variable> contexts;
    for (int64_t t = 0; t < queries.dim(1); ++t) {
      contexts.push_back(attention.step(slice(queries, 1, t, t + 1), memory, state).output);
    }
    return concat(contexts, 1);
  }

  AttentionCore& attention;
};

}  // namespace

TEST_CASE("every attention by name serves a decoder", "[attention]") {
  CHECK(attention_names().size() == 18);
  const AttentionMask mask = AttentionMask::padding(Tensor::from<int64_t>({6, 4}, {2}));
  for (const std::string& name : attention_names()) {
    INFO(name);
    AttentionChoice choice = attention_named(name);
    choice.sizes = {.query = 4};
    choice.dropout = 0.2;
    Decoder decoder(choice);
    const Variable q(random_tensor({2, 3, 1, 4}, DType::kFloat32, 1), true);
    const Variable k(random_tensor({2, 6, 1, 4}, DType::kFloat32, 2), true);
    const Variable y = decoder(q, k, mask);
    CHECK(y.shape() == Shape{2, 3, 1, 4});
    sum(square(y)).backward();
    CHECK_FALSE(all_zero(k.grad()));
    CHECK(all_zero(k.grad().select(0, 1).slice(0, 4, 6)));
  }
}

TEST_CASE("names, kinds and scores belong together", "[attention]") {
  const auto type = [](AttentionChoice choice) -> std::string {
    choice.sizes = {.query = 4};
    const auto core = make_attention(choice);
    return typeid(*core).name();
  };
  CHECK(type(attention_named("scaled-dot")) == typeid(ScaledDotProduct).name());
  CHECK(type(attention_named("dot")) == typeid(ScaledDotProduct).name());
  CHECK(type(attention_named("additive")) == typeid(GlobalAttention).name());
  CHECK(type(attention_named("local-p")) == typeid(LocalAttention).name());
  CHECK(type(attention_named("location")) == typeid(LocationAttention).name());
  CHECK(type(attention_named("location-aware")) == typeid(LocationAwareAttention).name());
  CHECK(type(attention_named("coverage")) == typeid(CoverageAttention).name());
  CHECK(type(attention_named("monotonic")) == typeid(MonotonicAttention).name());
  CHECK(type(attention_named("hard-image")) == typeid(ImageAttention).name());
  AttentionChoice normed = attention_named("normed-additive");
  normed.sizes = {.query = 4};
  CHECK(make_attention(normed)->named_parameters().size() == 5);  // W, U, v, b, g
  CHECK(attention_named("local-m").score == ScoreKind::kGeneral);
  CHECK(attention_named("monotonic").score == ScoreKind::kNormedAdditive);

  // dot is not scaled.
  const Variable q(random_tensor({1, 2, 1, 4}, DType::kFloat32, 1)), k(random_tensor({1, 3, 1, 4}, DType::kFloat32, 2));
  const auto weights = [&](const char* name, const Variable& query) {
    AttentionChoice choice = attention_named(name);
    choice.sizes = {.query = 4};
    return (*make_attention(choice))(query, k, k, {}, true).weights.value();
  };
  CHECK(max_difference(weights("dot", q * 0.5), weights("scaled-dot", q)) < 1e-6);
}

TEST_CASE("an attention that does not exist is refused with the names of those that do", "[attention][errors]") {
  const std::string text = error_text<ValueError>([] { attention_named("addictive"); });
  CHECK(text.starts_with("attention_named: there is no 'addictive', expected one of dot, scaled-dot, general, "));
  CHECK_THROWS_AS(make_attention(attention_named("additive")), ValueError);
}
