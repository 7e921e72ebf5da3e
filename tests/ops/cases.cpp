#include "tests/ops/cases.h"

#include "autograd/ops/attention.h"
#include "autograd/ops/batch_norm.h"
#include "autograd/ops/conv.h"
#include "autograd/ops/ops.h"
#include "autograd/ops/pool.h"
#include "autograd/ops/recurrent.h"

namespace attune::testing {

const std::vector<OpCase>& op_cases() {
  static const std::vector<OpCase> cases = [] {
    std::vector<OpCase> all;
    add_elementwise_cases(all);
    add_activation_cases(all);
    add_shape_cases(all);
    add_product_cases(all);
    add_loss_cases(all);
    add_attention_cases(all);
    add_picture_cases(all);
    add_recurrent_cases(all);
    add_math_cases(all);
    return all;
  }();
  return cases;
}

const std::vector<OpError>& op_errors() {
  static const std::vector<OpError> errors = [] {
    const auto leaf = [](const Shape& shape, DType dtype = DType::kFloat32) {
      return Variable(Tensor::zeros(shape, dtype));
    };
    const auto integers = [](const std::vector<int64_t>& values) {
      const auto n = static_cast<int64_t>(values.size());
      return Tensor::from(values, {n});
    };
    const Variable a = leaf({2, 3});
    const Variable b = leaf({4, 3});
    const Variable wide = leaf({2, 3}, DType::kFloat64);
    const Variable tokens = leaf({2, 3}, DType::kInt64);
    std::vector<OpError> all;
    add_activation_errors(all);
    add_loss_errors(all);
    const auto row = [&](const char* op, std::function<void()> call, std::vector<std::string> says) {
      all.push_back({op, std::move(call), std::move(says)});
    };

    // Two operands that do not fit: both are named.
    using Binary = Variable (*)(const Variable&, const Variable&);
    const std::pair<const char*, Binary> binaries[] = {{"add", add}, {"sub", sub},         {"mul", mul},
                                                       {"div", div}, {"maximum", maximum}, {"minimum", minimum},
                                                       {"pow", pow}};
    for (const auto& [op, function] : binaries) {
      const Binary f = function;
      row(op, [=] { f(a, b); }, {"[2, 3]", "[4, 3]"});
      row(op, [=] { f(a, wide); }, {"float32", "float64", "cast"});
      row(op, [=] { f(a, {}); }, {"b is undefined"});
      row(op, [=] { f(tokens, a); }, {"int64", "floating"});
    }
    using Unary = Variable (*)(const Variable&);
    const std::pair<const char*, Unary> unaries[] = {
        {"exp", exp}, {"log", log}, {"sqrt", sqrt}, {"square", square},   {"reciprocal", reciprocal}, {"abs", abs},
        {"sin", sin}, {"cos", cos}, {"tanh", tanh}, {"sigmoid", sigmoid}, {"rsqrt", rsqrt},           {"erf", erf}};
    for (const auto& [op, function] : unaries) {
      const Unary f = function;
      row(op, [=] { f({}); }, {"x is undefined"});
      row(op, [=] { f(tokens); }, {"int64 [2, 3]", "floating"});
    }
    row("affine", [=] { affine({}, 1, 0); }, {"undefined"});
    row("clamp", [=] { clamp(a, 2, 1); }, {"low 2", "high 1"});
    row("where", [=] { where(a.value(), a, a); }, {"float32", "bool"});
    row("where", [=] { where(Tensor::zeros({3, 3}, DType::kBool), a, a); }, {"[2, 3]", "[3, 3]"});
    row("cast", [=] { cast(a, DType::kInt64); }, {"int64", "floating"});

    row("sum", [=] { sum(a, {2}); }, {"axis 2", "[2, 3]"});
    row("sum", [=] { sum(a, {1, -1}); }, {"axis -1", "[2, 3]", "twice"});
    row("mean", [=] { mean(a, {-3}); }, {"axis -3", "[2, 3]"});
    row("max", [=] { max(a, 5); }, {"axis 5", "[2, 3]"});
    row("max", [=] { max(leaf({2, 0}), 1); }, {"[2, 0]", "nothing along"});
    row("min", [=] { min(leaf({2, 0}), 1); }, {"[2, 0]", "nothing along"});
    row("min", [=] { min(a, {0, 0}); }, {"axis 0", "[2, 3]", "twice"});
    row("prod", [=] { prod(a, 2); }, {"axis 2", "[2, 3]"});
    row("var", [=] { var(leaf({2, 1}), 1); }, {"1 elements", "[2, 1]", "correction 1"});
    row("stddev", [=] { stddev(a, 3); }, {"axis 3", "[2, 3]"});
    row("norm", [=] { norm(tokens); }, {"int64", "floating"});
    row("logsumexp", [=] { logsumexp(leaf({0})); }, {"nothing along"});
    row("cumsum", [=] { cumsum(a, 2); }, {"axis 2", "[2, 3]"});
    row("masked_mean", [=] { masked_mean(a, integers({1, 1})); }, {"[2, 3]", "[B, T, D]"});
    row("masked_mean", [=] { masked_mean(leaf({2, 3, 4}), integers({1})); }, {"[1]", "[2]", "[2, 3, 4]"});
    row("masked_mean", [=] { masked_mean(leaf({2, 3, 4}), integers({1, 4})); }, {"length 4", "position [1]", "3"});
    row("masked_mean", [=] { masked_mean(leaf({2, 3, 4}), integers({-1, 2})); }, {"length -1", "position [0]"});

    row("reshape", [=] { reshape(a, {4, -1}); }, {"[2, 3]", "4, -1"});
    row("reshape", [=] { reshape(a, {-1, -1}); }, {"-1", "twice"});
    row("reshape", [=] { reshape(a, {-2, 3}); }, {"-2", "negative"});
    row("reshape", [=] { reshape(a, Shape{5}); }, {"[2, 3]", "[5]"});
    row("permute", [=] { permute(a, {0}); }, {"[0]", "[2, 3]"});
    row("permute", [=] { permute(a, {0, 0}); }, {"0, 0", "[2, 3]", "twice"});
    row("transpose", [=] { transpose(a, 0, 2); }, {"axis 2", "[2, 3]"});
    row("slice", [=] { slice(a, 1, 2, 4); }, {"2 ... 4", "axis 1", "[2, 3]"});
    row("slice", [=] { slice(a, 1, 2, 1); }, {"2 ... 1"});
    row("select", [=] { select(a, 0, 2); }, {"index 2", "axis 0", "[2, 3]"});
    row("expand", [=] { expand(a, {4, 3}); }, {"[2, 3]", "[4, 3]"});
    row("expand", [=] { expand(a, {1, 3}); }, {"[2, 3]", "[1, 3]"});
    row("concat", [=] { concat(std::span<const Variable>(), 0); }, {"no parts"});
    row("concat", [=] { concat({a, b}, 1); }, {"[2, 3]", "[4, 3]", "axis 1"});
    row("concat", [=] { concat({a, leaf({2})}, 0); }, {"[2, 3]", "[2]", "rank"});
    row("concat", [=] { concat({a, wide}, 0); }, {"float32", "float64"});
    row("concat", [=] { concat({a, Variable()}, 0); }, {"undefined"});
    row("stack", [=] { stack(std::vector<Variable>{a, b}, 0); }, {"[2, 3]", "[4, 3]"});
    row("stack", [=] { stack(std::vector<Variable>{a, a}, 3); }, {"axis 3", "[2, 3]"});
    row("index_select", [=] { index_select(a, 1, integers({0, 3})); }, {"index 3", "position [1]", "-3 ... 2"});
    row("index_select", [=] { index_select(a, 1, a.value()); }, {"[2, 3]", "[n]"});
    row("index_select", [=] { index_select(a, 0, Tensor::zeros({2})); }, {"float32", "int64"});
    row("gather", [=] { gather(a, 1, integers({0, 1})); }, {"[2]", "[2, 3]"});
    row("gather", [=] { gather(a, 1, Tensor::full({2, 1}, -4, DType::kInt64)); }, {"index -4", "position [0, 0]"});
    const Tensor places = Tensor::zeros({2, 1}, DType::kInt64);
    row("scatter", [=] { scatter(a, 1, places, a); }, {"source [2, 3]", "indices [2, 1]"});
    row("scatter",
        [=] {
          scatter(a, 1, Tensor::full({2, 1}, 3, DType::kInt64), leaf({2, 1}));
        },
        {"index 3", "-3 ... 2"});
    row("scatter_add", [=] { scatter_add(a, 0, places, leaf({2, 1})); }, {"[2, 1]", "[2, 3]", "axis 0"});
    row("scatter_add", [=] { scatter_add(a, 1, places, leaf({2, 1}, DType::kFloat64)); }, {"float32", "float64"});
    row("unsqueeze", [=] { unsqueeze(a, 3); }, {"axis 3", "[2, 3]"});
    row("squeeze", [=] { squeeze(a, 1); }, {"axis 1", "[2, 3]", "extent 3"});
    row("flatten", [=] { flatten(a, 1, 0); }, {"1 ... 0", "[2, 3]"});
    row("slice", [=] { slice(a, 1, -4, 2); }, {"-4 ... 2", "[2, 3]"});
    row("slice", [=] { slice(a, 1, 0, 2, 0); }, {"step 0", "flip"});
    row("select", [=] { select(a, 0, -3); }, {"index -3", "axis 0", "[2, 3]"});
    row("split", [=] { split(a, 0); }, {"size 0"});
    row("split", [=] { split(a, {1, 1}, 1); }, {"[1, 1]", "axis 1", "[2, 3]", "sum of 3"});
    row("chunk", [=] { chunk(a, 0); }, {"0 chunks"});
    row("flip", [=] { flip(a, 2); }, {"axis 2", "[2, 3]"});
    row("tile", [=] { tile(a, {-1}); }, {"-1 repeats"});
    row("pad", [=] { pad(a, {{1, 1}}); }, {"1 pairs", "[2, 3]", "2 axes"});
    row("pad", [=] { pad(a, {{1, -1}, {0, 0}}); }, {"1 and -1", "axis 0", "slice"});
    row("tril", [=] { tril(leaf({3})); }, {"[3]", "[..., rows, columns]"});
    row("triu", [=] { triu(leaf({3})); }, {"[3]", "[..., rows, columns]"});
    row("einsum", [=] { einsum("ij", a, a); }, {"\"ij\"", "comma"});
    row("einsum", [=] { einsum("ii,ij->j", a, a); }, {"'i'", "twice"});
    row("einsum", [=] { einsum("ij,jk->il", a, a); }, {"'l'", "no operand"});
    row("einsum", [=] { einsum("i,ij->j", a, a); }, {"1 and 2 labels", "[2, 3]"});
    row("einsum", [=] { einsum("ij,jk->ik", a, b); }, {"'j'", "3 in [2, 3]", "4 in [4, 3]"});
    row("einsum", [=] { einsum("i.,jk->ik", a, b); }, {"'.'", "letters"});

    row("embedding", [=] { embedding(leaf({3}), integers({0})); }, {"[3]", "[V, D]"});
    row("embedding", [=] { embedding(b, integers({0, 4, 2})); }, {"id 4", "position [1]", "0 ... 3"});
    row("embedding", [=] { embedding(b, Tensor::full({2, 2}, -7, DType::kInt64)); }, {"id -7", "position [0, 0]"});
    row("embedding", [=] { embedding(b, a.value()); }, {"float32", "int64"});
    row("dropout", [=] { dropout(a, 1); }, {"1", "p < 1"});
    row("dropout", [=] { dropout(a, -0.1); }, {"-0.1"});
    row("dropout", [=] { dropout(tokens, 0.5); }, {"int64"});

    row("matmul", [=] { matmul(a, b); }, {"[2, 3]", "[4, 3]"});
    row("matmul", [=] { matmul(a, leaf({3})); }, {"[2, 3]", "[3]"});
    row("matmul", [=] { matmul(a, wide, false, true); }, {"float32", "float64"});
    row("matmul", [=] { matmul(leaf({2, 2, 3}), leaf({3, 3, 1})); }, {"[2, ", "[3, "});
    row("linear", [=] { linear(a, leaf({5, 4}), {}); }, {"[2, 3]", "[5, 4]"});
    row("linear", [=] { linear(a, b, leaf({3})); }, {"bias", "[3]", "[4, 3]"});
    row("linear", [=] { linear(a, b, {}, Activation::kNone, 1.0); }, {"1", "p < 1"});
    row("layer_norm", [=] { layer_norm(a, leaf({2}), {}); }, {"gain", "[2]", "[2, 3]"});
    row("layer_norm", [=] { layer_norm(a, leaf({3}), leaf({1})); }, {"shift", "[1]"});
    row("rms_norm", [=] { rms_norm(a, leaf({2})); }, {"gain", "[2]", "[2, 3]"});
    row("add_layer_norm", [=] { add_layer_norm(a, b, leaf({3}), {}); }, {"[2, 3]", "[4, 3]"});
    row("softmax", [=] { softmax(leaf({})); }, {"[]"});
    row("log_softmax", [=] { log_softmax(leaf({})); }, {"[]"});
    row("masked_softmax", [=] { masked_softmax(a, a.value()); }, {"float32", "bool"});
    row("masked_softmax", [=] { masked_softmax(a, Tensor::zeros({4, 3}, DType::kBool)); }, {"[4, 3]", "[2, 3]"});
    const Variable picture = leaf({2, 5, 6, 4});
    const Variable window = leaf({8, 4, 3, 3});
    row("conv2d", [=] { conv2d(a, window, {}); }, {"[2, 3]", "[B, H, W, C]"});
    row("conv2d", [=] { conv2d(picture, a, {}); }, {"[2, 3]", "[O, C / groups, KH, KW]"});
    row("conv2d", [=] { conv2d(picture, leaf({8, 3, 3, 3}), {}); }, {"4 channels", "[8, 3, 3, 3]", "3 in 1"});
    row("conv2d", [=] { conv2d(picture, window, {}, {.groups = 3}); }, {"3 groups", "4 input", "8 output"});
    row("conv2d", [=] { conv2d(picture, window, leaf({4})); }, {"bias", "[4]", "[8]"});
    row("conv2d", [=] { conv2d(picture, leaf({8, 4, 3, 3}, DType::kFloat64), {}); }, {"float32", "float64"});
    row("conv2d", [=] { conv2d(picture, window, {}, {.dilation = {3, 1}}); }, {"over 7", "height of 5"});
    row("conv2d", [=] { conv2d(picture, window, {}, {.stride = {1, 0}}); }, {"stride 0", "width"});
    row("conv2d", [=] { conv2d(picture, window, {}, {.stride = 2, .padding = kSamePadding}); }, {"stride 2", "height"});
    row("conv1d", [=] { conv1d(a, leaf({2, 3, 1}), {}); }, {"[2, 3]", "[B, C, S]"});
    row("conv1d", [=] { conv1d(leaf({2, 3, 4}), a, {}); }, {"[2, 3]", "[O, C / groups, K]"});
    row("conv1d", [=] { conv1d(leaf({2, 3, 4}), leaf({2, 3, 5}), {}); }, {"window of 5", "length of 4"});
    row("max_pool2d", [=] { max_pool2d(a, 2); }, {"[2, 3]", "[B, H, W, C]"});
    row("max_pool2d", [=] { max_pool2d(picture, {6, 1}); }, {"window of 6", "height of 5"});
    row("max_pool2d", [=] { max_pool2d(picture, 2, {.padding = 2}); }, {"padding 2", "window 2"});
    row("average_pool2d", [=] { average_pool2d(picture, {1, 0}); }, {"window 0", "width"});
    row("adaptive_average_pool2d", [=] { adaptive_average_pool2d(picture, {0, 2}); }, {"0 x 2", "[2, 5, 6, 4]"});
    row("batch_norm", [=] { batch_norm(picture, leaf({3}), leaf({4})); }, {"[3]", "[4]", "[2, 5, 6, 4]"});
    row("batch_norm", [=] { batch_norm(leaf({0, 4}), leaf({4}), leaf({4})); }, {"[0, 4]", "empty"});
    row("batch_norm_by", [=] { batch_norm_by(picture, Tensor::zeros({4}), Tensor::zeros({3}), leaf({4}), leaf({4})); },
        {"mean", "[4]", "[3]", "[2, 5, 6, 4]"});
    const RecurrentParameters gates{leaf({9, 2}), leaf({9, 3}), {}, {}};
    const auto one = [](const RecurrentParameters& p) { return std::vector<RecurrentParameters>{p}; };
    const Variable sequence = leaf({2, 5, 2});
    row("gru", [=] { gru(a, {}, one(gates)); }, {"[2, 3]", "[B, S, D]"});
    row("gru", [=] { gru(leaf({2, 5, 4}), {}, one(gates)); }, {"weight_ih", "[9, 2]", "[9, 4]"});
    row("gru", [=] { gru(sequence, leaf({1, 3, 3}), one(gates)); }, {"h0", "[1, 3, 3]", "[1, 2, 3]"});
    row("gru", [=] { gru(sequence, {}, {}); }, {"0 directions"});
    row("gru", [=] { gru(sequence, {}, one({leaf({9, 2}), leaf({9, 3}), leaf({9}), {}})); }, {"one bias"});
    row("gru", [=] { gru(sequence, {}, one(gates), integers({5, 6})); }, {"sample 1", "length 6", "5"});
    row("gru", [=] { gru(sequence, {}, one(gates), a.value()); }, {"float32", "int64"});
    row("gru", [=] { gru(sequence, {}, one(gates), {}, leaf({2, 5, 6})); }, {"gates", "[2, 5, 6]", "[2, 5, 9]"});
    row("lstm", [=] { lstm(sequence, {}, {}, one(gates)); }, {"[9, 3]", "[4 H, H]"});
    row("gru", [=] { gru(sequence, {}, one(gates), integers({5, 6}), {}, {.reset_after = false}); }, {"length 6"});
    row("rnn", [=] { rnn(sequence, {}, one(gates)); }, {"[9, 3]", "[1 H, H]"});
    row("rnn", [=] { rnn(sequence, {}, one(gates), Activation::kGelu); }, {"kTanh or kRelu"});
    const RecurrentParameters wide_gates{leaf({12, 2}), leaf({12, 3}, DType::kFloat64), {}, {}};
    row("lstm", [=] { lstm(sequence, {}, {}, one(wide_gates)); }, {"float64", "float32", "weight_hh"});

    for (const auto& [op, f] :
         {std::pair{"additive_scores", &additive_scores}, {"additive_scores_composed", &additive_scores_composed}}) {
      const auto scores = f;
      const Variable q = leaf({2, 1, 3, 4});
      row(op, [=] { scores(a, q, leaf({1, 4})); }, {"[2, 3]", "[B, H, T, A]"});
      row(op, [=] { scores(q, leaf({2, 1, 3, 5}), leaf({1, 4})); }, {"[2, 1, 3, 4]", "[2, 1, 3, 5]"});
      row(op, [=] { scores(q, q, leaf({4})); }, {"v is [4]", "[1, 4]"});
    }
    const auto table = [](const Shape& shape, DType dtype = DType::kFloat32) { return Tensor::zeros(shape, dtype); };
    constexpr RotaryLayout kHalves = RotaryLayout::kHalves;
    row("rotary", [=] { rotary(a, table({2, 1}), table({2, 1}), kHalves); }, {"[2, 3]", "[B, N, H, K]"});
    row("rotary",
        [=] {
          rotary(leaf({1, 2, 1, 4}), table({3, 2}), table({3, 2}), kHalves);
        },
        {"[1, 2, 1, 4]", "[3, 2]"});
    row("rotary",
        [=] {
          rotary(leaf({1, 2, 1, 4}), table({2, 3}), table({2, 3}), kHalves);
        },
        {"[1, 2, 1, 4]", "[2, 3]"});
    row("rotary",
        [=] {
          rotary(leaf({1, 2, 1, 4}), table({2, 2}, DType::kFloat64), table({2, 2}), kHalves);
        },
        {"float32", "float64"});

    row("weighted_sum",
        [=] {
          weighted_sum(leaf({2, 4, 1, 3}), leaf({2, 3, 3, 5}));
        },
        {"[2, 4, 1, 3]", "[2, 3, 3, 5]"});
    row("weighted_sum", [=] { weighted_sum(leaf({2, 4, 1, 3}), leaf({2, 2, 4, 5})); }, {"[2, 2, 4, 5]", "Hkv"});
    row("weighted_sum", [=] { weighted_sum(a, leaf({2, 2, 4, 5})); }, {"[2, 3]", "[B, H, T, S]"});
    const Variable p = leaf({2, 1, 3, 4});
    const Tensor keep = Tensor::full({2, 1, 3, 4}, 1, DType::kBool);
    row("monotonic_alignment", [=] { monotonic_alignment(p, leaf({2, 1, 3}), keep); }, {"[2, 1, 3]", "[2, 1, 4]"});
    row("monotonic_alignment", [=] { monotonic_alignment(p, leaf({2, 1, 4}), keep.select(0, 0)); }, {"[1, 3, 4]"});
    row("monotonic_alignment", [=] { monotonic_alignment(p, leaf({2, 1, 4}), p.value()); }, {"float32", "bool"});
    return all;
  }();
  return errors;
}

}  // namespace attune::testing
