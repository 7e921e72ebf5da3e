#include "tests/support/attention.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "tests/support/tensors.h"

namespace attune::testing {
namespace {

bool everything(const Extents&, int64_t, int64_t, int64_t, int64_t) { return true; }
double nothing_added(const Extents&, int64_t, int64_t, int64_t, int64_t) { return 0; }

/// Sample 0 has every key, the last none.
int64_t length_of(const Extents& e, int64_t b) {
  return e.batch == 1 ? e.keys : e.keys * (e.batch - 1 - b) / (e.batch - 1);
}

Tensor lengths(const Extents& e) {
  std::vector<int64_t> values;
  for (int64_t b = 0; b < e.batch; ++b) values.push_back(length_of(e, b));
  return Tensor::from(values, {e.batch});
}

/// Irregular; some queries have no key.
bool pattern(int64_t b, int64_t h, int64_t t, int64_t s) {
  return t % 4 != 3 && (7 * b + 5 * h + 3 * t + 2 * s + t * s) % 3 != 0;
}

Tensor pattern_tensor(const Shape& shape, bool inverted = false) {
  Tensor tensor = Tensor::empty(shape, DType::kBool);
  const Shape full = shape.rank() == 4 ? shape : Shape{1, 1, shape[0], shape[1]};
  bool* out = tensor.data<bool>();
  for (int64_t b = 0; b < full[0]; ++b) {
    for (int64_t h = 0; h < full[1]; ++h) {
      for (int64_t t = 0; t < full[2]; ++t) {
        for (int64_t s = 0; s < full[3]; ++s) *out++ = pattern(b, h, t, s) != inverted;
      }
    }
  }
  return tensor;
}

/// Scores that forbid what the pattern does by -infinity and add `added` elsewhere.
Tensor forbidding_tensor(const Shape& shape, DType dtype, const Tensor& added) {
  const Tensor allowed = pattern_tensor(shape);
  Tensor scores = added.to(DType::kFloat64).clone();
  for (int64_t i = 0; i < scores.numel(); ++i) {
    if (!allowed.data<bool>()[i]) scores.data<double>()[i] = -std::numeric_limits<double>::infinity();
  }
  return scores.to(dtype);
}

/// bool [.., ceil(T / size), ceil(S / size)] by the same pattern.
Tensor block_tensor(const Extents& e, const Shape& leading, int64_t size) {
  Shape shape = leading;
  shape.push_back((e.queries + size - 1) / size);
  shape.push_back((e.keys + size - 1) / size);
  return pattern_tensor(shape);
}

std::vector<MaskKind> make_kinds() {
  using M = AttentionMask;
  std::vector<MaskKind> kinds;
  const auto add = [&](const char* name, auto make, auto allows) {
    kinds.push_back({name, make, allows, &nothing_added});
  };
  const auto add_bias = [&](const char* name, auto make, auto allows, auto adds) {
    kinds.push_back({name, make, allows, adds});
  };

  add(
      "none", [](const Extents&, DType) { return M(); }, &everything);
  add(
      "causal", [](const Extents&, DType) { return M::causal(); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return s <= t; });
  add(
      "causal, last", [](const Extents&, DType) { return M::causal(Align::kLast); },
      [](const Extents& e, int64_t, int64_t, int64_t t, int64_t s) { return s <= t + e.keys - e.queries; });
  add(
      "causal, offset 2", [](const Extents&, DType) { return M::causal(2); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return s <= t + 2; });
  add(
      "causal, offset -2", [](const Extents&, DType) { return M::causal(-2); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return s <= t - 2; });
  add(
      "padding", [](const Extents& e, DType) { return M::padding(lengths(e)); },
      [](const Extents& e, int64_t b, int64_t, int64_t, int64_t s) { return s < length_of(e, b); });
  add(
      "where a formula says so, and causal",
      [](const Extents&, DType) {
        return M::where([](const ScoreAt& at) { return (at.key + at.query + at.head) % 3 != at.batch; }) & M::causal(1);
      },
      [](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) { return (s + t + h) % 3 != b && s <= t + 1; });
  add(
      "keep [T, S]",
      [](const Extents& e, DType) {
        return M::keep(pattern_tensor({e.queries, e.keys}));
      },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return pattern(0, 0, t, s); });
  add(
      "keep [B, H, T, S]",
      [](const Extents& e, DType) {
        return M::keep(pattern_tensor({e.batch, e.heads, e.queries, e.keys}));
      },
      [](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) { return pattern(b, h, t, s); });
  add(
      "keep [B, 1, 1, S]",
      [](const Extents& e, DType) {
        return M::keep(pattern_tensor({e.batch, 1, 1, e.keys}));
      },
      [](const Extents&, int64_t b, int64_t, int64_t, int64_t s) { return pattern(b, 0, 0, s); });
  add(
      "drop [B, 1, T, S]",
      [](const Extents& e, DType) {
        return M::drop(pattern_tensor({e.batch, 1, e.queries, e.keys}, true));
      },
      [](const Extents&, int64_t b, int64_t, int64_t t, int64_t s) { return pattern(b, 0, t, s); });
  add(
      "drop everything",
      [](const Extents& e, DType) {
        return M::drop(Tensor::full({e.queries, e.keys}, 1, DType::kBool));
      },
      [](const Extents&, int64_t, int64_t, int64_t, int64_t) { return false; });
  add(
      "window 1, 2", [](const Extents&, DType) { return M::window(1, 2); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return t - 1 <= s && s <= t + 2; });
  add(
      "window 2, unbounded", [](const Extents&, DType) { return M::window(2, -1); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return t - 2 <= s; });
  add(
      "window 0, 0, last", [](const Extents&, DType) { return M::window(0, 0, Align::kLast); },
      [](const Extents& e, int64_t, int64_t, int64_t t, int64_t s) { return s == t + e.keys - e.queries; });
  add(
      "window around an offset", [](const Extents&, DType) { return M::window(1, 1, 3); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return t + 2 <= s && s <= t + 4; });
  add(
      "causal & window", [](const Extents&, DType) { return M::causal() & M::window(2, 2); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return t - 2 <= s && s <= t; });
  add(
      "causal, last & window, first", [](const Extents&, DType) { return M::causal(Align::kLast) & M::window(1, 1); },
      [](const Extents& e, int64_t, int64_t, int64_t t, int64_t s) {
        return t - 1 <= s && s <= t + 1 && s <= t + e.keys - e.queries;
      });
  add(
      "windows that do not meet", [](const Extents&, DType) { return M::window(1, 1) & M::window(0, 0, 4); },
      [](const Extents&, int64_t, int64_t, int64_t, int64_t) { return false; });
  add(
      "causal & padding", [](const Extents& e, DType) { return M::causal() & M::padding(lengths(e)); },
      [](const Extents& e, int64_t b, int64_t, int64_t t, int64_t s) { return s <= t && s < length_of(e, b); });
  add(
      "padding & padding",
      [](const Extents& e, DType) {
        const std::vector<int64_t> half(static_cast<size_t>(e.batch), e.keys / 2);
        return M::padding(lengths(e)) & M::padding(Tensor::from(half, {e.batch}));
      },
      [](const Extents& e, int64_t b, int64_t, int64_t, int64_t s) {
        return s < std::min(length_of(e, b), e.keys / 2);
      });
  add(
      "keep & drop of other extents",
      [](const Extents& e, DType) {
        return M::keep(pattern_tensor({e.queries, e.keys})) & M::drop(pattern_tensor({e.batch, 1, 1, e.keys}, true));
      },
      [](const Extents&, int64_t b, int64_t, int64_t t, int64_t s) {
        return pattern(0, 0, t, s) && pattern(b, 0, 0, s);
      });
  add(
      "where",
      [](const Extents&, DType) {
        return M::where([](const ScoreAt& at) { return pattern(at.batch, at.head, at.query, at.key); });
      },
      [](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) { return pattern(b, h, t, s); });
  add(
      "blocks of 2", [](const Extents& e, DType) { return M::blocks(block_tensor(e, {}, 2), 2); },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return pattern(0, 0, t / 2, s / 2); });
  add(
      "blocks by head & blocks & keep",
      [](const Extents& e, DType) {
        return M::blocks(block_tensor(e, {e.batch, e.heads}, 3), 3) & M::blocks(block_tensor(e, {1, 1}, 2), 2) &
               M::keep(pattern_tensor({e.batch, 1, 1, e.keys}));
      },
      [](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) {
        return pattern(b, h, t / 3, s / 3) && pattern(0, 0, t / 2, s / 2) && pattern(b, 0, 0, s);
      });
  add_bias(
      "bias [T, S]",
      [](const Extents& e, DType d) {
        return M::bias(Variable(bias_tensor({e.queries, e.keys}, d)));
      },
      &everything, [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return bias_at(0, 0, t, s); });
  add_bias(
      "bias [B, H, 1, S]",
      [](const Extents& e, DType d) {
        return M::bias(Variable(bias_tensor({e.batch, e.heads, 1, e.keys}, d)));
      },
      &everything, [](const Extents&, int64_t b, int64_t h, int64_t, int64_t s) { return bias_at(b, h, 0, s); });
  add_bias(
      "bias & bias",
      [](const Extents& e, DType d) {
        return M::bias(Variable(bias_tensor({e.queries, 1}, d))) &
               M::bias(Variable(bias_tensor({1, e.heads, e.queries, e.keys}, d)));
      },
      &everything,
      [](const Extents&, int64_t, int64_t h, int64_t t, int64_t s) {
        return bias_at(0, 0, t, 0) + bias_at(0, h, t, s);
      });
  // A bias of -infinity forbids; what it adds elsewhere is 0, or another bias.
  add(
      "bias of -infinity [T, S]",
      [](const Extents& e, DType d) {
        const Shape shape{e.queries, e.keys};
        return M::bias(Variable(forbidding_tensor(shape, d, Tensor::zeros(shape))));
      },
      [](const Extents&, int64_t, int64_t, int64_t t, int64_t s) { return pattern(0, 0, t, s); });
  add(
      "bias of -infinity [B, H, 1, S] & causal",
      [](const Extents& e, DType d) {
        const Shape shape{e.batch, e.heads, 1, e.keys};
        return M::bias(Variable(forbidding_tensor(shape, d, Tensor::zeros(shape)))) & M::causal();
      },
      [](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) { return s <= t && pattern(b, h, 0, s); });
  add(
      "bias of -infinity everywhere",
      [](const Extents& e, DType d) {
        return M::bias(Variable(Tensor::full({e.queries, 1}, -std::numeric_limits<double>::infinity(), d)));
      },
      [](const Extents&, int64_t, int64_t, int64_t, int64_t) { return false; });
  add_bias(
      "bias with -infinity & keep & padding",
      [](const Extents& e, DType d) {
        const Shape shape{e.batch, e.heads, e.queries, e.keys};
        return M::bias(Variable(forbidding_tensor(shape, d, bias_tensor(shape, d)))) &
               M::keep(pattern_tensor({e.batch, 1, 1, e.keys})) & M::padding(lengths(e));
      },
      [](const Extents& e, int64_t b, int64_t h, int64_t t, int64_t s) {
        return pattern(b, h, t, s) && pattern(b, 0, 0, s) && s < length_of(e, b);
      },
      [](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) { return bias_at(b, h, t, s); });
  add_bias(
      "all of them",
      [](const Extents& e, DType d) {
        return M::bias(Variable(bias_tensor({e.batch, e.heads, e.queries, e.keys}, d))) & M::causal(1) &
               M::padding(lengths(e)) & M::keep(pattern_tensor({e.batch, e.heads, e.queries, e.keys})) &
               M::window(3, -1);
      },
      [](const Extents& e, int64_t b, int64_t h, int64_t t, int64_t s) {
        return s <= t + 1 && s < length_of(e, b) && pattern(b, h, t, s) && s >= t - 3;
      },
      [](const Extents&, int64_t b, int64_t h, int64_t t, int64_t s) { return bias_at(b, h, t, s); });
  return kinds;
}

}  // namespace

const std::vector<MaskKind>& mask_kinds() {
  static const std::vector<MaskKind> kinds = make_kinds();
  return kinds;
}

double bias_at(int64_t b, int64_t h, int64_t t, int64_t s) {
  return static_cast<double>((11 * b + 7 * h + 5 * t + 3 * s) % 17) / 8 - 1;  // exact in float32
}

Tensor bias_tensor(const Shape& shape, DType dtype) {
  Tensor tensor = Tensor::empty(shape, DType::kFloat64);
  const Shape full = shape.rank() == 4 ? shape : Shape{1, 1, shape[0], shape[1]};
  double* out = tensor.data<double>();
  for (int64_t b = 0; b < full[0]; ++b) {
    for (int64_t h = 0; h < full[1]; ++h) {
      for (int64_t t = 0; t < full[2]; ++t) {
        for (int64_t s = 0; s < full[3]; ++s) *out++ = bias_at(b, h, t, s);
      }
    }
  }
  return tensor.to(dtype);
}

Tensor masked_positions(const MaskKind& kind, const Extents& e) {
  Tensor masked = Tensor::empty({e.batch, e.heads, e.queries, e.keys}, DType::kBool);
  bool* out = masked.data<bool>();
  for (int64_t b = 0; b < e.batch; ++b) {
    for (int64_t h = 0; h < e.heads; ++h) {
      for (int64_t t = 0; t < e.queries; ++t) {
        for (int64_t s = 0; s < e.keys; ++s) *out++ = !kind.allows(e, b, h, t, s);
      }
    }
  }
  return masked;
}

void poison_where(const Tensor& masked, double poison, Tensor& x) {
  const bool* at = masked.data<bool>();
  visit_floating(x.dtype(), "poison", [&]<class T>(T) {
    for (int64_t i = 0; i < x.numel(); ++i) {
      if (at[i]) x.data<T>()[i] = static_cast<T>(poison);
    }
  });
}

void poison_unused_keys(const Tensor& masked, double poison, Tensor& x) {
  for (int64_t b = 0; b < x.dim(0); ++b) {
    for (int64_t h = 0; h < x.dim(2); ++h) {
      const Tensor head = masked.select(0, b).select(0, h).contiguous();  // [T, S]
      for (int64_t s = 0; s < x.dim(1); ++s) {
        bool used = false;
        for (int64_t t = 0; t < head.dim(0); ++t) used |= !head.data<bool>()[t * head.dim(1) + s];
        if (!used) x.select(0, b).select(0, s).select(0, h).fill_(poison);
      }
    }
  }
}

Attended attend_by_formula(const Tensor& q_in, const Tensor& k_in, const Tensor& v_in, const MaskKind& kind,
                           double scale, double softcap) {
  const Tensor q = q_in.to(DType::kFloat64).contiguous();
  const Tensor k = k_in.to(DType::kFloat64).contiguous();
  const Tensor v = v_in.to(DType::kFloat64).contiguous();
  const Extents e{q.dim(0), q.dim(2), q.dim(1), k.dim(1)};
  const int64_t width = q.dim(3), out_width = v.dim(3), key_heads = k.dim(2);
  if (scale == 0) scale = 1 / std::sqrt(static_cast<double>(width));
  Attended result{Tensor::zeros({e.batch, e.queries, e.heads, out_width}, DType::kFloat64),
                  Tensor::zeros({e.batch, e.heads, e.queries, e.keys}, DType::kFloat64)};
  const double* query = q.data<double>();
  const double* key = k.data<double>();
  const double* value = v.data<double>();
  for (int64_t b = 0; b < e.batch; ++b) {
    for (int64_t h = 0; h < e.heads; ++h) {
      const int64_t hk = h / (e.heads / key_heads);
      for (int64_t t = 0; t < e.queries; ++t) {
        double* weights = result.weights.data<double>() + ((b * e.heads + h) * e.queries + t) * e.keys;
        double* y = result.output.data<double>() + ((b * e.queries + t) * e.heads + h) * out_width;
        double largest = -HUGE_VAL;
        for (int64_t s = 0; s < e.keys; ++s) {
          double score = 0;
          for (int64_t i = 0; i < width; ++i) {
            score += query[((b * e.queries + t) * e.heads + h) * width + i] *
                     key[((b * e.keys + s) * key_heads + hk) * width + i];
          }
          score *= scale;
          if (softcap > 0) score = softcap * std::tanh(score / softcap);
          weights[s] = score + kind.adds(e, b, h, t, s);
          if (kind.allows(e, b, h, t, s)) largest = std::max(largest, weights[s]);
        }
        double total = 0;
        for (int64_t s = 0; s < e.keys; ++s) {
          weights[s] = kind.allows(e, b, h, t, s) ? std::exp(weights[s] - largest) : 0;
          total += weights[s];
        }
        for (int64_t s = 0; s < e.keys && total > 0; ++s) {
          weights[s] /= total;
          for (int64_t i = 0; i < out_width; ++i) {
            if (weights[s] != 0) y[i] += weights[s] * value[((b * e.keys + s) * key_heads + hk) * out_width + i];
          }
        }
      }
    }
  }
  return result;
}

}  // namespace attune::testing
