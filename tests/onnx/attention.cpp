// Attention. ONNX has heads before positions, [B, H, T, K], or within the width, [B, T, H K]; Attune [B, T, H, K].

#include <cmath>
#include <limits>

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

Tensor by_position(const Tensor& x, int64_t heads) {
  if (x.rank() == 4) return x.permute({0, 2, 1, 3});
  return x.reshape({x.dim(0), x.dim(1), heads, x.dim(2) / heads});
}

Tensor like_onnx(const Tensor& y, bool flat) {
  return flat ? y.reshape({y.dim(0), y.dim(1), y.dim(2) * y.dim(3)}) : y.permute({0, 2, 1, 3});
}

/// x [B, S, Hkv, K] -> [B, H, S, K]: the heads that each query reads.
Variable repeated(const Tensor& x, int64_t heads) {
  const int64_t group = heads / x.dim(2);
  const Tensor wide = x.permute({0, 2, 1, 3}).unsqueeze(2);
  return Variable(
      wide.expand({x.dim(0), x.dim(2), group, x.dim(1), x.dim(3)}).reshape({x.dim(0), heads, x.dim(1), x.dim(3)}));
}

/// Masks of [S], [T, S], [H, T, S] or [B, H, T, S]; what is missing at the end is forbidden.
AttentionMask given_mask(Tensor mask, int64_t keys) {
  const bool allowed = mask.dtype() == DType::kBool;
  if (mask.rank() == 1) mask = mask.unsqueeze(0);
  if (mask.rank() == 3) mask = mask.unsqueeze(0);
  if (mask.dim(-1) < keys) {
    std::vector<PadWidth> widths(static_cast<size_t>(mask.rank()));
    widths.back() = {0, keys - mask.dim(-1)};
    mask = pad(mask, widths, allowed ? 0 : -std::numeric_limits<double>::infinity());
  }
  return allowed ? AttentionMask::keep(mask) : AttentionMask::bias(Variable(mask));
}

struct Operands {
  Tensor q, k, v;
  bool flat = false;
  AttentionMask mask;
  AttentionOptions options;
};

/// The output and, where `weights` is set, the weights, in every way there is.
std::vector<AttentionResult> all_ways(const Operands& given, bool weights) {
  const Variable q(given.q), k(given.k), v(given.v);
  const LoweredMask mask = given.mask.lower(q.dim(0), q.dim(2), q.dim(1), k.dim(1));
  AttentionOptions options = given.options;
  std::vector<AttentionResult> results;
  for (const bool wanted : {true, false}) {
    if (weights && !wanted) continue;
    options.want_weights = wanted;
    results.push_back(attention(q, k, v, mask.spec, mask.bias, options));
    results.push_back(attention_composed(q, k, v, mask.spec, mask.bias, options));
    for (const AttentionPath path : {AttentionPath::kFused, AttentionPath::kComposed}) {
      ScaledDotProduct core(
          {.scale = options.scale, .softcap = options.softcap, .score = options.score, .dropout = 0, .path = path});
      results.push_back(core(q, k, v, given.mask, wanted));
      if (q.dim(1) == 0) continue;
      const AttentionMemory memory = core.prepare(k, v, given.mask, q.dim(1));
      AttentionState state;
      std::vector<Variable> outputs, rows;
      for (int64_t t = 0; t < q.dim(1); ++t) {
        AttentionResult step = core.step(slice(q, 1, t, t + 1), memory, state, wanted);
        outputs.push_back(step.output);
        rows.push_back(step.weights);
      }
      results.push_back({concat(outputs, 1), wanted ? concat(rows, 2) : Variable()});
    }
  }
  return results;
}

/// qk_matmul_output_mode 0, 1 and 2: the scores, behind the softcap, and with the mask.
Tensor scores(const Operands& given, int64_t mode) {
  const Variable q = repeated(given.q, given.q.dim(2));
  const double scale = given.options.scale != 0 ? given.options.scale : 1 / std::sqrt(given.q.dim(3));
  Variable y = matmul(q, repeated(given.k, given.q.dim(2)), false, true) * scale;
  const double cap = given.options.softcap;
  if (mode >= 1 && cap != 0) y = tanh(y / cap) * cap;
  if (mode < 2) return y.value();
  const LoweredMask mask = given.mask.lower(y.dim(0), y.dim(1), y.dim(2), y.dim(3));
  const Tensor bias = mask.bias.defined() ? mask.bias.value() : Tensor();
  const Tensor keep = allowed_keys(mask.spec, bias, y.shape(), Device::cpu());
  if (bias.defined()) y = y + mask.bias;
  return where(keep, y.value(), -std::numeric_limits<double>::infinity());
}

Ways attend(const Case& c) {
  Operands given;
  given.flat = c.in(0).rank() == 3;
  given.q = by_position(c.in(0), c.integer("q_num_heads", 0));
  given.k = by_position(c.in(1), c.integer("kv_num_heads", 0));
  given.v = by_position(c.in(2), c.integer("kv_num_heads", 0));
  const int64_t queries = given.q.dim(1);
  int64_t offset = 0;
  if (c.in(4).defined()) {
    AttentionCache cache;
    cache.append(by_position(c.in(4), 0), by_position(c.in(5), 0));
    offset = cache.length();
    cache.append(given.k, given.v);
    given.k = cache.keys();
    given.v = cache.values();
  }
  if (c.in(3).defined()) given.mask = given_mask(c.in(3), given.k.dim(1));
  const bool causal = c.integer("is_causal", 0) != 0;
  const int64_t left = c.integer("left_window_size", -1), right = c.integer("right_window_size", -1);
  const bool window = left >= 0 || right >= 0;
  if (c.in(6).defined()) {
    const Tensor offsets = c.in(6) - queries;
    given.mask = given.mask & AttentionMask::padding(c.in(6));
    if (causal) given.mask = given.mask & AttentionMask::causal(offsets);
    if (window) given.mask = given.mask & AttentionMask::window(left, right, offsets);
  } else {
    if (causal) given.mask = given.mask & AttentionMask::causal(offset);
    if (window) given.mask = given.mask & AttentionMask::window(left, right, offset);
  }
  given.options.scale = c.number("scale", 0);
  given.options.softcap = c.number("softcap", 0);

  const int64_t mode = c.integer("qk_matmul_output_mode", 0);
  Ways ways;
  for (const AttentionResult& result : all_ways(given, c.wants(3) && mode == 3)) {
    std::vector<Tensor> outputs{like_onnx(result.output.value(), given.flat)};
    if (c.wants(1)) outputs.push_back(given.k.permute({0, 2, 1, 3}));
    if (c.wants(2)) outputs.push_back(given.v.permute({0, 2, 1, 3}));
    outputs.resize(c.outputs.size());
    if (c.wants(3)) outputs[3] = mode == 3 ? result.weights.value() : scores(given, mode);
    ways.push_back(std::move(outputs));
  }
  return ways;
}

Ways flex(const Case& c) {
  Operands given;
  given.q = by_position(c.in(0), 0);
  given.k = by_position(c.in(1), 0);
  given.v = by_position(c.in(2), 0);
  given.options.scale = c.number("scale", 0);
  const std::string score = c.text("score_mod", "");
  if (score == "Add") {
    given.options.score = ScoreFunction([](auto x, const ScoreAt&) { return x + 0.5F; });
  } else if (score == "Div Tanh Mul") {
    given.options.softcap = 20;
  } else if (score.find("GreaterOrEqual") != std::string::npos) {
    given.mask = AttentionMask::causal();
  } else if (score.find("Sub Cast Add") != std::string::npos) {
    given.options.score =
        ScoreFunction([](auto x, const ScoreAt& at) { return x + static_cast<float>(at.query - at.key); });
  } else if (!score.empty()) {
    throw NotExpressible{"score_mod " + score};
  }
  Ways ways;
  const std::string weights = c.text("prob_mod", "");
  if (!weights.empty() && weights != "Mul") throw NotExpressible{"prob_mod " + weights};
  for (const AttentionResult& result : all_ways(given, !weights.empty())) {
    const Variable y = weights.empty() ? result.output : weighted_sum(result.weights * 0.5, Variable(given.v));
    ways.push_back({like_onnx(y.value(), false)});
  }
  return ways;
}

/// Without a delta rule: S(t) = exp(g(t)) S(t-1) + k(t) v(t), y(t) = scale q(t) S(t), which is, with the sum G of the
/// decays so far, (q exp(G)) (k exp(-G)) over the keys up to each query.
Ways linear_attention(const Case& c) {
  const std::string rule = c.text("update_rule", "gated_delta");
  if (rule != "linear" && rule != "gated") throw NotExpressible{"linear attention with a delta rule"};
  const int64_t heads = c.integer("q_num_heads", 1), key_heads = c.integer("kv_num_heads", 1);
  if (heads != key_heads || c.in(3).defined()) throw NotExpressible{"linear attention with a state"};
  Variable q = repeated(by_position(c.in(0), heads), heads);
  Variable k = repeated(by_position(c.in(1), key_heads), heads);
  const Variable v = repeated(by_position(c.in(2), key_heads), heads);
  Variable last = k;
  if (c.in(4).defined()) {
    const Variable decay = cumsum(repeated(by_position(c.in(4), key_heads), heads), 2);
    q = q * exp(decay);
    k = k * exp(-decay);
    last = k * exp(slice(decay, 2, decay.dim(2) - 1, decay.dim(2)));
  }
  const double given = c.number("scale", 0);
  const double scale = given != 0 ? given : 1 / std::sqrt(q.dim(3));
  const Variable y = matmul(tril(matmul(q, k, false, true)), v) * scale;
  return {{like_onnx(y.value().permute({0, 2, 1, 3}), true), matmul(last, v, true).value()}};
}

/// Every sample has a table of its own: all positions of all samples are those of one.
Ways turned(const Case& c) {
  const Tensor x = by_position(c.in(0), c.integer("num_heads", 1));
  const auto table = [&](const Tensor& cache) {
    const Tensor rows = c.in(3).defined() ? index_select(cache, 0, flatten(c.in(3))) : cache;
    return rows.reshape({x.dim(0) * x.dim(1), cache.dim(-1)});
  };
  const auto layout = c.integer("interleaved", 0) != 0 ? RotaryLayout::kInterleaved : RotaryLayout::kHalves;
  const Variable folded(x.reshape({1, x.dim(0) * x.dim(1), x.dim(2), x.dim(3)}));
  const Tensor y = rotary(folded, table(c.in(1)), table(c.in(2)), layout).value().reshape(x.shape());
  return {{like_onnx(y, c.in(0).rank() == 3)}};
}

}  // namespace

void add_attention(Operators& ops) {
  ops["Attention"] = attend;
  ops["FlexAttention"] = flex;
  ops["LinearAttention"] = linear_attention;
  ops["RotaryEmbedding"] = turned;
}

}  // namespace attune::onnx
