#include "layers/attention/registry.h"

#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <typeinfo>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "layers/activation_registry.h"
#include "layers/attention/global.h"
#include "layers/attention/history.h"
#include "layers/attention/image.h"
#include "layers/attention/linear_attention.h"
#include "layers/attention/linformer.h"
#include "layers/attention/local.h"
#include "layers/attention/location.h"
#include "layers/attention/monotonic.h"
#include "layers/attention/multi_head.h"
#include "layers/attention/performer.h"
#include "layers/attention/relative.h"
#include "layers/attention/scaled_dot_product.h"
#include "layers/feed_forward.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/tensors.h"

using namespace attune;
using namespace attune::testing;

namespace {

/// A decoder that takes its attention by name and looks at the memory once per step.
struct Decoder : Module {
  explicit Decoder(const AttentionConfig& config) : attention(own("attention", make_attention(config))) {}

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

TEST_CASE("every attention by name serves a decoder", "[attention][registry]") {
  const AttentionMask mask = AttentionMask::padding(Tensor::from<int64_t>({6, 4}, {2}));
  for (const std::string& name : attention_names()) {
    INFO(name);
    AttentionConfig config = attention_config(name);
    config.sizes = {.query = 4};
    config.dropout = 0.2;
    config.align = Align::kFirst;
    Decoder decoder(config);
    const Variable q(random_tensor({2, 3, 1, 4}, DType::kFloat32, 1), true);
    const Variable k(random_tensor({2, 6, 1, 4}, DType::kFloat32, 2), true);
    const Variable y = decoder(q, k, mask);
    CHECK(y.shape() == Shape{2, 3, 1, 4});
    sum(square(y)).backward();
    CHECK_FALSE(all_zero(k.grad()));
    CHECK(all_zero(k.grad().select(0, 1).slice(0, 4, 6)));
  }
}

TEST_CASE("names and classes belong together", "[attention][registry]") {
  const auto type = [](const char* name) -> std::string {
    AttentionConfig config = attention_config(name);
    config.sizes = {.query = 4};
    const auto core = make_attention(config);
    return typeid(*core).name();
  };
  CHECK(type("scaled-dot") == typeid(ScaledDotProduct).name());
  CHECK(type("dot") == typeid(ScaledDotProduct).name());
  for (const char* name :
       {"general", "concat", "additive", "normed-additive", "cosine", "keras-dot", "keras-concat", "keras-additive"}) {
    CHECK(type(name) == typeid(GlobalAttention).name());
  }
  CHECK(type("local-m") == typeid(LocalAttention).name());
  CHECK(type("local-p") == typeid(LocalAttention).name());
  CHECK(type("location") == typeid(LocationAttention).name());
  CHECK(type("location-aware") == typeid(LocationAwareAttention).name());
  CHECK(type("coverage") == typeid(CoverageAttention).name());
  CHECK(type("monotonic") == typeid(MonotonicAttention).name());
  CHECK(type("soft-image") == typeid(ImageAttention).name());
  CHECK(type("hard-image") == typeid(ImageAttention).name());
  CHECK(type("linear") == typeid(LinearAttention).name());
  CHECK(type("performer") == typeid(Performer).name());
  CHECK(type("linformer") == typeid(Linformer).name());
  CHECK(type("relative") == typeid(RelativeAttention).name());

  AttentionConfig normed = attention_config("normed-additive");
  normed.sizes = {.query = 4};
  CHECK(make_attention(normed)->named_parameters().size() == 5);  // W, U, v, b, g
  // local-m scores by general, W, and by another where it is asked to.
  AttentionConfig local = attention_config("local-m");
  local.sizes = {.query = 4};
  CHECK(make_attention(local)->named_parameters().size() == 1);
  local.score = ScoreKind::kAdditive;
  CHECK(make_attention(local)->named_parameters().size() == 3);  // W, U, v

  // dot is not scaled.
  const Variable q(random_tensor({1, 2, 1, 4}, DType::kFloat32, 1)), k(random_tensor({1, 3, 1, 4}, DType::kFloat32, 2));
  const auto weights = [&](const char* name, const Variable& query) {
    AttentionConfig config = attention_config(name);
    config.sizes = {.query = 4};
    return (*make_attention(config))(query, k, k, {}, true).weights.value();
  };
  CHECK(max_difference(weights("dot", q * 0.5), weights("scaled-dot", q)) < 1e-6);
}

TEST_CASE("an attention that does not exist is refused with the names of those that do",
          "[attention][registry][errors]") {
  const std::string text = error_text<ValueError>([] { attention_config("addictive"); });
  CHECK(text.starts_with("attention_config: there is no 'addictive', expected one of dot, scaled-dot, general, "));
  CHECK(text.find("monotonic, soft-image, hard-image, linear, performer, linformer, relative") != std::string::npos);
  CHECK_THROWS_AS(make_attention({.name = "addictive"}), ValueError);
  CHECK_THROWS_AS(registered_attention(""), ValueError);
}

TEST_CASE("an attention is made only of what fits it", "[attention][registry][errors]") {
  CHECK_THROWS_AS(make_attention(attention_config("additive")), ValueError);  // without sizes
  for (const RegisteredAttention& row : registered_attentions()) {
    INFO(row.name);
    AttentionConfig config = attention_config(row.name);
    config.sizes = {.query = 4, .key = 6};
    if (row.traits.equal_widths) {
      CHECK_THROWS_AS(make_attention(config), ValueError);
    } else {
      CHECK_NOTHROW(make_attention(config));
    }
    config.sizes.key = 4;
    config.score = ScoreKind::kAdditive;
    if (row.traits.any_score) {
      CHECK_NOTHROW(make_attention(config));
    } else {
      CHECK(error_text<ValueError>([&] { make_attention(config); }) ==
            "make_attention: a score given for " + row.name + ", which has its own; leave it out");
    }
  }
  CHECK(error_text<ValueError>([] { make_attention({.name = "linformer", .sizes = {.query = 4, .key = 6}}); }) ==
        "make_attention: linformer for width of query 4 and key 6, expected equal ones, at least 1");
}

TEST_CASE("a model hears in one line why an attention does not fit", "[attention][registry]") {
  const auto why = [](const char* name, const AttentionUse& use) { return why_unfit(registered_attention(name), use); };
  CHECK(why("dot", {.query = 4}).empty());
  CHECK(why("dot", {.query = 4, .key = 6}) ==
        "it compares queries of width 4 with keys of width 6, expected equal ones");
  CHECK(why("additive", {.query = 4, .key = 6, .causal = true, .cached = true}).empty());
  CHECK(why("linformer", {.query = 4}) == "it needs a fixed length, the most keys that a sequence has");
  CHECK(why("linformer", {.query = 4, .bounded = true}).empty());
  CHECK(why("linformer", {.query = 4, .bounded = true, .causal = true}) ==
        "it needs a mask that is the same for all queries, which a causal one is not");
  CHECK(why("performer", {.query = 4, .causal = true, .cached = true}).empty());
  CHECK(why("coverage", {.query = 4, .causal = true}).empty());
  CHECK(why("coverage", {.query = 4, .cached = true}) ==
        "it draws on the weights of earlier queries, which a cache of keys does not hold");
  CHECK(why("local-m", {.query = 4, .cached = true}) ==
        "it draws on the whole sequence, of which a cache holds a part");
  CHECK(why("hard-image", {.query = 4}) == "it chooses, which has no gradient: its training needs ReinforceLoss");
  CHECK(why("hard-image", {.query = 4, .rewarded = true}).empty());
}

namespace {

/// How a cached step differs from the same query among all: 0 where a variant may be cached.
double difference_of_steps(const RegisteredAttention& row) {
  AttentionConfig config = attention_config(row.name);
  config.sizes = {.query = 4, .heads = 2};
  config.window = 1;
  MultiHeadAttention attn(8, 2, {}, make_attention(config));
  randomise(attn);
  attn.to(DType::kFloat64);
  attn.eval();
  const Variable x(random_tensor({2, 6, 8}, DType::kFloat64, 3));
  const NoGrad values_only;
  const Tensor whole = attn(x, AttentionMask::causal()).output.value();
  AttentionCache cache;
  double worst = 0;
  for (int64_t t = 0; t < 6; ++t) {
    const Tensor y = attn.step(slice(x, 1, t, t + 1), cache).output.value();
    worst = std::max(worst, max_difference(y, whole.slice(1, t, t + 1)));
  }
  return worst;
}

}  // namespace

TEST_CASE("what the registry says of caches is so", "[attention][registry]") {
  for (const RegisteredAttention& row : registered_attentions()) {
    const AttentionUse use{.query = 4, .bounded = true, .causal = true, .cached = true, .rewarded = true};
    if (row.traits.same_mask) continue;  // nothing causal
    INFO(row.name);
    manual_seed(4);
    const double difference = difference_of_steps(row);
    if (why_unfit(row, use).empty()) {
      CHECK(difference < 1e-12);
    } else {
      CHECK(difference > 1e-3);
    }
  }
}

TEST_CASE("attentions from outside are found by name", "[attention][registry]") {
  const auto sharp = [](const AttentionConfig& config) -> std::unique_ptr<AttentionCore> {
    return std::make_unique<ScaledDotProduct>(ScaledDotProductOptions{.scale = 2, .dropout = config.dropout});
  };
  const std::vector<std::string> before = attention_names();
  const RegisteredAttention& first = registered_attentions().front();
  register_attention({.name = "test-sharp",
                      .what = "softmax(2 q k)",
                      .paper = "a test",
                      .traits = {.equal_widths = true},
                      .score = {},
                      .make = sharp});
  CHECK(&first == &registered_attentions().front());
  std::vector<std::string> expected = before;
  expected.emplace_back("test-sharp");
  CHECK(attention_names() == expected);
  AttentionConfig config = attention_config("test-sharp");
  config.sizes = {.query = 4};
  const Variable q(random_tensor({1, 2, 1, 4}, DType::kFloat32, 1)), k(random_tensor({1, 3, 1, 4}, DType::kFloat32, 2));
  AttentionConfig dot = attention_config("dot");
  dot.sizes = config.sizes;
  CHECK(max_difference((*make_attention(config))(q, k, k).output.value(),
                       (*make_attention(dot))(q * 2.0, k, k).output.value()) < 1e-6);

  CHECK(error_text<ValueError>([&] {
          register_attention({.name = "dot", .what = "another", .paper = "", .traits = {}, .score = {}, .make = sharp});
        }) == "register_attention: 'dot' is registered already, as \"softmax(q k)\"; choose another name");
  CHECK(error_text<ValueError>([] {
          register_attention({.name = "nothing", .what = "", .paper = "", .traits = {}, .score = {}, .make = {}});
        }) == "register_attention: 'nothing' without a factory given, expected a name and a factory");
  CHECK(attention_names() == expected);
}

TEST_CASE("activations from outside are found by name", "[layers][registry]") {
  register_activation("test-cube", [](const Variable& x) { return x * x * x; });
  CHECK(activation_names().back() == "test-cube");
  const Variable x(random_tensor({2, 3, 4}, DType::kFloat32, 1));
  FeedForward network(4, 5, {.activation = "test-cube"});
  const auto parameters = network.named_parameters();
  const auto at = [&](const char* name) {
    for (const auto& [known, parameter] : parameters) {
      if (known == name) return parameter;
    }
    return Variable();
  };
  const Variable hidden = linear(x, at("linear1.weight"), at("linear1.bias"));
  const Variable expected = linear(hidden * hidden * hidden, at("linear2.weight"), at("linear2.bias"));
  CHECK(max_difference(network(x).value(), expected.value()) < 1e-6);

  // A name of one that products apply is that one.
  CHECK(AnyActivation("gelu").fused() == Activation::kGelu);
  CHECK(max_difference(AnyActivation("softplus").apply(x).value(), softplus(x).value()) == 0);
  CHECK(error_text<ValueError>([] { register_activation("relu", [](const Variable& v) { return v; }); }) ==
        "register_activation: 'relu' is registered already; choose another name");
  CHECK(error_text<ValueError>([] {
          FeedForward(4, 5, {.activation = "rel"});
        }).starts_with("activation: there is no 'rel', expected one of none, relu, gelu, "));
}
