// Reductions, order, softmax and products.

#include <algorithm>
#include <array>

#include "tests/onnx/case.h"

namespace attune::onnx {
namespace {

/// f(x, axes, keep) of Tensors and of Variables.
template <class F>
Ways reduction(const Case& c, F f) {
  const std::vector<int> axes = c.in(1).defined() ? to_axes(c.in(1)) : std::vector<int>{};
  if (axes.empty() && c.integer("noop_with_empty_axes", 0) != 0) return {{c.in(0)}};
  const bool keep = c.integer("keepdims", 1) != 0;
  return {{f(c.in(0), Axes(axes), keep)}, {f(c.var(0), Axes(axes), keep).value()}};
}

/// The same of bool, which has no other order.
template <class F, class B>
Ways extremum(const Case& c, F f, B of_bool) {
  if (c.in(0).dtype() != DType::kBool) return reduction(c, f);
  return {{of_bool(c.in(0), Axes(to_axes(c.in(1))), c.integer("keepdims", 1) != 0)}};
}

template <class F>
Ways position(const Case& c, F f) {
  const int axis = static_cast<int>(c.integer("axis", 0));
  const bool keep = c.integer("keepdims", 1) != 0;
  if (c.integer("select_last_index", 0) == 0) return {{f(c.in(0), axis, keep)}};
  return {{c.in(0).dim(axis) - 1 - f(flip(c.in(0), axis), axis, keep)}};
}

Ways cumulative_sum(const Case& c) {
  const int axis = c.in(0).shape().axis(static_cast<int>(c.in(1).item()));
  const auto sums = [&](const auto& x) {
    auto y = c.integer("reverse", 0) != 0 ? flip(x, axis) : x;
    if (c.integer("exclusive", 0) != 0) {
      std::vector<PadWidth> widths(static_cast<size_t>(y.rank()));
      widths[static_cast<size_t>(axis)] = {1, 0};
      y = pad(y, widths);
      if constexpr (std::is_same_v<decltype(y), Tensor>) {
        y = y.slice(axis, 0, y.dim(axis) - 1);
      } else {
        y = slice(y, axis, 0, y.dim(axis) - 1);
      }
    }
    y = cumsum(y, axis);
    return c.integer("reverse", 0) != 0 ? flip(y, axis) : y;
  };
  Ways ways{{sums(c.in(0))}};
  if (is_floating(c.in(0).dtype())) ways.push_back({sums(c.var(0)).value()});
  return ways;
}

Ways largest(const Case& c) {
  const int axis = static_cast<int>(c.integer("axis", -1));
  const Ordered top = topk(c.in(0), static_cast<int64_t>(c.in(1).item()), axis, c.integer("largest", 1) != 0);
  return {{top.values, top.indices}};
}

Ways hardmax(const Case& c) {
  const int axis = static_cast<int>(c.integer("axis", -1));
  const Tensor x = c.in(0).transpose(axis, -1);
  return {{one_hot(argmax(x, -1), x.dim(-1), x.dtype()).transpose(axis, -1)}};
}

template <class F>
Ways over_axis(const Case& c, F f) {
  const int axis = static_cast<int>(c.integer("axis", -1));
  return {{transpose(f(transpose(c.var(0), axis, -1)), axis, -1).value()}};
}

Ways lp_normalization(const Case& c) {
  const int axis = static_cast<int>(c.integer("axis", -1));
  // Of nothing but zeros ONNX makes zeros.
  const auto normalized = [&](const auto& x) {
    const auto size = c.integer("p", 2) == 1 ? sum(abs(x), axis, true) : norm(x, axis, true);
    return where(norm(c.in(0), axis, true) == 0, x, x / size);
  };
  return {{normalized(c.in(0))}, {normalized(c.var(0)).value()}};
}

Ways einsum_of(const Case& c) {
  std::string equation = c.text("equation", "");
  std::erase(equation, ' ');
  if (c.inputs.size() == 2) {
    return {{einsum(equation, c.in(0), c.in(1))}, {einsum(equation, c.var(0), c.var(1)).value()}};
  }
  // Attune's has two operands: of one there are ops of their own.
  const Tensor x = c.in(0);
  if (equation == "->") return {{x}};
  if (equation == "ij->ji") return {{x.permute({1, 0})}};
  if (equation == "ij->i") return {{sum(x, 1)}};
  if (equation == "...ii->...i") return {{sum(x * eye(x.dim(-1), -1, x.dtype()), -1)}};
  throw NotExpressible{"einsum of one operand: " + equation};
}

Ways product(const Case& c) {
  Ways ways{{matmul(c.in(0), c.in(1))}};
  if (c.in(0).rank() > 1 && c.in(1).rank() > 1) ways.push_back({matmul(c.var(0), c.var(1)).value()});
  return ways;
}

Ways gemm(const Case& c) {
  Variable y = matmul(c.var(0), c.var(1), c.integer("transA", 0) != 0, c.integer("transB", 0) != 0);
  y = y * c.number("alpha", 1);
  if (c.in(2).defined()) y += c.var(2) * c.number("beta", 1);
  return {{y.value()}};
}

}  // namespace

void add_reductions(Operators& ops) {
  ops["ReduceSum"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) { return sum(x, axes, keep); });
  };
  ops["ReduceMean"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) { return mean(x, axes, keep); });
  };
  ops["ReduceProd"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) { return prod(x, axes, keep); });
  };
  ops["ReduceL1"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) { return sum(abs(x), axes, keep); });
  };
  ops["ReduceL2"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) { return norm(x, axes, keep); });
  };
  ops["ReduceSumSquare"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) { return sum(square(x), axes, keep); });
  };
  ops["ReduceLogSum"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) { return log(sum(x, axes, keep)); });
  };
  ops["ReduceLogSumExp"] = [](const Case& c) {
    return reduction(c, [](const auto& x, const Axes& axes, bool keep) {
      // Of nothing logsumexp() is an error, ONNX's is -infinity.
      return x.numel() == 0 ? log(sum(exp(x), axes, keep)) : logsumexp(x, axes, keep);
    });
  };
  ops["ReduceMax"] = [](const Case& c) {
    return extremum(
        c, [](const auto& x, const Axes& axes, bool keep) { return max(x, axes, keep); }, any);
  };
  ops["ReduceMin"] = [](const Case& c) {
    return extremum(
        c, [](const auto& x, const Axes& axes, bool keep) { return min(x, axes, keep); }, all);
  };
  ops["ArgMax"] = [](const Case& c) {
    return position(c, [](const Tensor& x, int axis, bool keep) { return argmax(x, axis, keep); });
  };
  ops["ArgMin"] = [](const Case& c) {
    return position(c, [](const Tensor& x, int axis, bool keep) { return argmin(x, axis, keep); });
  };
  ops["CumSum"] = cumulative_sum;
  ops["TopK"] = largest;
  ops["Hardmax"] = hardmax;
  ops["Softmax"] = [](const Case& c) { return over_axis(c, softmax); };
  ops["LogSoftmax"] = [](const Case& c) { return over_axis(c, log_softmax); };
  ops["LpNormalization"] = lp_normalization;
  ops["Einsum"] = einsum_of;
  ops["MatMul"] = product;
  ops["Gemm"] = gemm;
}

}  // namespace attune::onnx
