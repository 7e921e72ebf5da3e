#include "examples/gradcheck/zeros.h"

namespace attune::examples {

Tensor bool_tensor(const Shape& shape, const std::function<bool(std::span<const int64_t>)>& holds) {
  Tensor tensor = Tensor::empty(shape, DType::kBool);
  std::vector<int64_t> index(static_cast<size_t>(shape.rank()));
  for (int64_t i = 0; i < tensor.numel(); ++i) {
    int64_t rest = i;
    for (int axis = shape.rank() - 1; axis >= 0; --axis) {
      index[static_cast<size_t>(axis)] = rest % shape[axis];
      rest /= shape[axis];
    }
    tensor.data<bool>()[i] = holds(index);
  }
  return tensor;
}

bool Sight::sees(int64_t b, int64_t h, int64_t t, int64_t s) const {
  return allowed_.data<bool>()[((b * heads() + h) * queries() + t) * keys() + s];
}

bool Sight::sees(int64_t b, int64_t first, int64_t last, int64_t t, int64_t s) const {
  for (int64_t h = first; h < last; ++h) {
    if (sees(b, h, t, s)) return true;
  }
  return false;
}

Sight Sight::then(const Sight& next) const {
  return Sight(bool_tensor({batch(), 1, queries(), next.keys()}, [&](auto i) {
    for (int64_t middle = 0; middle < keys(); ++middle) {
      if (any_head(i[0], i[2], middle) && next.any_head(i[0], middle, i[3])) return true;
    }
    return false;
  }));
}

Sight Sight::through(int64_t blocks) const {
  const Shape shape{batch(), 1, queries(), keys()};
  const Sight once(bool_tensor(shape, [&](auto i) { return i[2] == i[3] || any_head(i[0], i[2], i[3]); }));
  Sight all = once;
  for (int64_t block = 1; block < blocks; ++block) all = all.then(once);
  return all;
}

std::vector<GradcheckZeros> attention_zeros(const Sight& sight, const std::vector<Shape>& shapes,
                                            const AttentionLeaves& leaves, const Shape& output, int64_t row,
                                            Coupling coupling, const std::vector<Shape>& more_outputs) {
  const Shape &q = shapes[0], &k = shapes[1], &v = shapes[2];
  const auto rule = [&](const char* what, int64_t first, int64_t last) {
    // What the queries first ... last - 1 do not see.
    GradcheckZeros zeros{what, {}, {}};
    const auto counts = [&](int64_t t) { return first <= t && t < last; };
    const auto query_is_idle = [&](auto i) {
      if (!counts(i[1])) return true;
      for (int64_t s = 0; s < sight.keys(); ++s) {
        if (sight.sees(i[0], i[2], i[1], s)) return false;
      }
      return coupling == Coupling::kNone;
    };
    const auto key_is_unseen = [&](int64_t group) {
      return [&, group](auto i) {
        for (int64_t t = first; t < last; ++t) {
          if (sight.sees(i[0], i[2] * group, (i[2] + 1) * group, t, i[1])) return false;
        }
        return true;
      };
    };
    if (!leaves.q.empty()) zeros.leaves.emplace_back(leaves.q, bool_tensor(q, query_is_idle));
    const int64_t group = sight.heads() / k[2];
    if (!leaves.k.empty()) zeros.leaves.emplace_back(leaves.k, bool_tensor(k, key_is_unseen(group)));
    if (!leaves.v.empty()) zeros.leaves.emplace_back(leaves.v, bool_tensor(v, key_is_unseen(group)));
    if (!leaves.bias.empty()) {
      zeros.leaves.emplace_back(leaves.bias,
                                bool_tensor({1, sight.heads(), sight.queries(), sight.keys()}, [&](auto i) {
                                  if (!counts(i[2])) return true;
                                  for (int64_t b = 0; b < sight.batch(); ++b) {
                                    if (sight.sees(b, i[1], i[2], i[3])) return false;
                                  }
                                  return true;
                                }));
    }
    return zeros;
  };
  std::vector<GradcheckZeros> rules{rule("masked keys, queries without keys", 0, sight.queries())};
  rules.push_back(rule("what another query sees", coupling == Coupling::kNone ? row : 0, row + 1));
  rules.back().outputs.push_back(bool_tensor(output, [row](auto i) { return i[1] == row; }));
  for (const Shape& shape : more_outputs) {
    rules.back().outputs.push_back(bool_tensor(shape, [](auto) { return false; }));
  }
  return rules;
}

GradcheckZeros unseen_positions(const std::string& what, const Sight& sight, const Shape& output,
                                const std::string& leaf, const Shape& leaf_shape, int64_t row, bool own) {
  GradcheckZeros zeros{what, {bool_tensor(output, [row](auto i) { return i[1] == row; })}, {}};
  zeros.leaves.emplace_back(
      leaf, bool_tensor(leaf_shape, [&](auto i) { return !(own && i[1] == row) && !sight.any_head(i[0], row, i[1]); }));
  return zeros;
}

}  // namespace attune::examples
