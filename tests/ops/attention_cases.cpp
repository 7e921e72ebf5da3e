#include <cmath>
#include <limits>
#include <string>

#include "autograd/ops/attention.h"
#include "autograd/ops/ops.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;

constexpr int64_t kBatch = 2, kQueries = 3, kKeys = 4, kHeads = 2, kSize = 5;

MaskSpec causal() { return {.causal = true, .causal_offset = kKeys - kQueries}; }

MaskSpec padded(Vars operands) {
  MaskSpec mask;
  mask.lengths = near(operands, Tensor::from(std::vector<int64_t>{3, 0}, {kBatch}));
  return mask;
}

/// Every third key is masked; with blocks of 2 queries and 3 keys, of which every second is.
MaskSpec kept(Vars operands, int64_t keys, bool blocks) {
  Tensor keep = Tensor::full({kBatch, 1, kQueries, keys}, 1, DType::kBool);
  for (int64_t i = 0; i < keep.numel(); i += 3) keep.data<bool>()[i] = false;
  MaskSpec mask;
  if (blocks) {
    mask.block_size = 3;
    Tensor layout = Tensor::full({1, 1, (kQueries + 2) / 3, (keys + 2) / 3}, 1, DType::kBool);
    for (int64_t i = 0; i < layout.numel(); i += 2) layout.data<bool>()[i] = false;
    for (int64_t i = 0; i < keep.numel(); ++i) {
      const int64_t t = i / keys % kQueries, s = i % keys;
      if (!layout.data<bool>()[t / 3 * layout.dim(3) + s / 3]) keep.data<bool>()[i] = false;
    }
    mask.blocks = near(operands, layout).expand({kBatch, kHeads, layout.dim(2), layout.dim(3)});
  }
  mask.keep = near(operands, keep);
  return mask;
}

/// [H, T, S] with -infinity: query 1 has no key, key 2 no query.
Variable forbidding(Vars operands) {
  Tensor bias = Tensor::zeros({kHeads, kQueries, kKeys}, DType::kFloat64);
  bias.select(1, 1).fill_(-std::numeric_limits<double>::infinity());
  bias.select(2, 2).fill_(-std::numeric_limits<double>::infinity());
  return Variable(near(operands, bias.to(operands[0].dtype())));
}

Outputs results(const AttentionResult& result) {
  return result.weights.defined() ? Outputs{result.output, result.weights} : Outputs{result.output};
}

}  // namespace

void add_attention_cases(std::vector<OpCase>& cases) {
  const auto row = [&](const char* op, const char* what, std::vector<Input> inputs, auto call) {
    cases.push_back({op, what, std::move(inputs), [call](Vars x) { return results(call(x)); }});
  };
  const Input q{{kBatch, kQueries, kHeads, kSize}};
  const Input k{{kBatch, kKeys, kHeads, kSize}};
  const Input v{{kBatch, kKeys, kHeads, 3}};
  const Input bias{{kHeads, kQueries, kKeys}};

  using Function = AttentionResult (*)(const Variable&, const Variable&, const Variable&, const MaskSpec&,
                                       const Variable&, const AttentionOptions&);
  const std::pair<const char*, Function> functions[] = {{"attention", attention},
                                                        {"attention_composed", attention_composed}};
  for (const auto& [op, function] : functions) {
    const Function f = function;
    row(op, "no mask", {q, k, v}, [f](Vars x) { return f(x[0], x[1], x[2], {}, {}, {}); });
    row(op, "causal, aligned to the last key", {q, k, v},
        [f](Vars x) { return f(x[0], x[1], x[2], causal(), {}, {}); });
    row(op, "padding, one sample without keys", {q, k, v},
        [f](Vars x) { return f(x[0], x[1], x[2], padded(x), {}, {}); });
    row(op, "masked keys", {q, k, v}, [f](Vars x) { return f(x[0], x[1], x[2], kept(x, kKeys, false), {}, {}); });
    row(op, "masked keys, softcap", {q, k, v},
        [f](Vars x) { return f(x[0], x[1], x[2], kept(x, kKeys, false), {}, {.softcap = 2}); });
    row(op, "padding, softcap", {q, k, v}, [f](Vars x) { return f(x[0], x[1], x[2], padded(x), {}, {.softcap = 2}); });
    row(op, "blocks, many keys", {q, {{kBatch, 130, kHeads, kSize}}, {{kBatch, 130, kHeads, 3}}},
        [f](Vars x) { return f(x[0], x[1], x[2], kept(x, 130, true), {}, {}); });
    row(op, "a bias of -infinity", {q, k, v}, [f](Vars x) { return f(x[0], x[1], x[2], {}, forbidding(x), {}); });
    row(op, "a bias of -infinity, weights", {q, k, v},
        [f](Vars x) { return f(x[0], x[1], x[2], causal(), forbidding(x), {.want_weights = true}); });
    row(op, "bias, softcap, weights", {q, k, v, bias},
        [f](Vars x) { return f(x[0], x[1], x[2], {}, x[3], {.scale = 0.7, .softcap = 2, .want_weights = true}); });
    row(op, "shared keys, dropout", {q, {{kBatch, kKeys, 1, kSize}}, {{kBatch, kKeys, 1, 3}}}, [f](Vars x) {
      RandomStream stream(9);
      return f(x[0], x[1], x[2], causal(), {}, {.dropout = 0.3, .stream = &stream});
    });
    row(op, "score and mask functions", {q, k, v}, [f](Vars x) {
      MaskSpec mask;
      mask.where = [](const ScoreAt& at) { return at.key != at.query && at.batch + at.head + at.key > 0; };
      const ScoreFunction score([](auto s, const ScoreAt& at) { return s * s * 0.3 - 0.1 * (at.head + at.key); });
      return f(x[0], x[1], x[2], mask, {}, {.softcap = 3, .score = score});
    });
    row(op, "no queries", {{{kBatch, 0, kHeads, kSize}}, k, v},
        [f](Vars x) { return f(x[0], x[1], x[2], {}, {}, {}); });
    row(op, "no keys", {q, {{kBatch, 0, kHeads, kSize}}, {{kBatch, 0, kHeads, 3}}},
        [f](Vars x) { return f(x[0], x[1], x[2], {}, {}, {}); });
  }
  row("attention_packed", "causal", {{{kBatch, kQueries, 3, kHeads, kSize}}},
      [](Vars x) { return attention_packed(x[0], {.causal = true}); });
  row("attention_packed", "masked keys", {{{kBatch, kQueries, 3, kHeads, kSize}}},
      [](Vars x) { return attention_packed(x[0], kept(x, kQueries, false)); });
  row("attention_packed_kv", "padding", {q, {{kBatch, kKeys, 2, kHeads, kSize}}},
      [](Vars x) { return attention_packed_kv(x[0], x[1], padded(x)); });

  const std::pair<const char*, Variable (*)(const Variable&, const Variable&, const Variable&)> additives[] = {
      {"additive_scores", additive_scores}, {"additive_scores_composed", additive_scores_composed}};
  for (const auto& [op, function] : additives) {
    const auto f = function;
    const auto additive = [&](const char* what, int64_t queries, int64_t keys, int64_t width) {
      cases.push_back({op, what, {{{2, 2, queries, width}}, {{2, 2, keys, width}}, {{2, width}}}, [f](Vars x) {
                         return Outputs{f(x[0], x[1], x[2])};
                       }});
    };
    additive("narrow", 3, 4, 5);
    additive("wide", 2, 3, 37);
    additive("one element", 1, 1, 1);
    additive("no queries", 0, 4, 5);
    additive("no keys", 3, 0, 5);
  }
  const auto angles = [](int64_t positions, int64_t pairs, double shift) {
    Tensor table = Tensor::empty({positions, pairs}, DType::kFloat64);
    for (int64_t i = 0; i < table.numel(); ++i) table.data<double>()[i] = std::sin(static_cast<double>(i) + shift);
    return table;
  };
  for (const RotaryLayout layout : {RotaryLayout::kInterleaved, RotaryLayout::kHalves}) {
    const std::string how = layout == RotaryLayout::kHalves ? "halves" : "interleaved";
    const auto turned = [&](const std::string& what, const Shape& shape, int64_t pairs) {
      cases.push_back({"rotary", how + what, {{shape}}, [=](Vars x) {
                         const DType dtype = accumulation_dtype(x[0].dtype());
                         return Outputs{rotary(x[0], near(x, angles(shape[1], pairs, 1).to(dtype)),
                                               near(x, angles(shape[1], pairs, 2.5).to(dtype)), layout)};
                       }});
    };
    turned("", {2, 3, 2, 6}, 3);
    turned(", wide", {1, 2, 2, 70}, 35);
    turned(", a part", {2, 2, 1, 7}, 2);
    turned(", no positions", {2, 0, 2, 4}, 2);
  }

  const auto weighted = [&](const char* what, int64_t queries, int64_t keys, int64_t value_heads, int64_t width) {
    cases.push_back({"weighted_sum", what, {{{2, 4, queries, keys}}, {{2, keys, value_heads, width}}}, [](Vars x) {
                       return Outputs{weighted_sum(x[0], x[1])};
                     }});
  };
  weighted("one query", 1, 3, 4, 5);
  weighted("few queries, shared values, wide", 3, 2, 2, 37);
  weighted("many queries, shared values", 9, 3, 1, 4);
  weighted("no queries", 0, 3, 4, 5);
  weighted("no keys", 2, 0, 4, 5);
  row("weighted_sum", "a value used twice", {{{2, 1, 1, 3}}, {{2, 3, 1, 2}}}, [](Vars x) {
    return AttentionResult{weighted_sum(x[0], x[1]), weighted_sum(x[0] * 2.0, x[1])};
  });

  // Every third key is masked; query 1 of the first sample has none.
  Tensor keep = Tensor::full({2, 2, 3, 4}, 1, DType::kBool);
  for (int64_t i = 0; i < keep.numel(); i += 3) keep.data<bool>()[i] = false;
  keep.select(0, 0).select(1, 1).fill_(0);
  const auto monotonic = [&](const char* what, int64_t queries, int64_t keys, auto call) {
    const Input p{{2, 2, queries, keys}, 0.05, 0.95};
    cases.push_back({"monotonic_alignment", what, {p, {{2, 2, keys}, 0, 0.3}}, call});
  };
  monotonic("masked keys", 3, 4, [keep](Vars x) {
    auto [y, last] = monotonic_alignment(x[0], x[1], near(x, keep));
    return Outputs{y, last};
  });
  monotonic("only the last alignment is used", 3, 4,
            [keep](Vars x) { return Outputs{monotonic_alignment(x[0], x[1], near(x, keep)).second}; });
  monotonic("only the alignments are used", 3, 4,
            [keep](Vars x) { return Outputs{monotonic_alignment(x[0], x[1], near(x, keep)).first}; });
  for (const Shape& shape : {Shape{2, 2, 0, 4}, Shape{2, 2, 3, 0}}) {
    monotonic(shape[2] == 0 ? "no queries" : "no keys", shape[2], shape[3], [shape](Vars x) {
      auto [y, last] = monotonic_alignment(x[0], x[1], near(x, Tensor::full(shape, 1, DType::kBool)));
      return Outputs{y, last};
    });
  }
}

}  // namespace attune::testing
