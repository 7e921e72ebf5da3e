#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;

Tensor whole(const std::vector<int64_t>& values, const Shape& shape) { return Tensor::from(values, shape); }

}  // namespace

void add_math_cases(std::vector<OpCase>& cases) {
  const auto row = [&](const char* op, std::string what, std::vector<Input> inputs, auto call) {
    cases.push_back({op, std::move(what), std::move(inputs), [call](Vars x) { return Outputs{call(x)}; }});
  };
  const auto rows_of_parts = [&](const char* op, std::string what, std::vector<Input> inputs, OpCall call) {
    cases.push_back({op, std::move(what), std::move(inputs), std::move(call)});
  };
  const Input x{{2, 3}};
  const Input positive{{2, 3}, 0.5, 2};
  const Input block{{2, 3, 4}};

  // Numbers on either side, and in place.
  row("operator+", "a number in front", {x}, [](Vars v) { return 3 + v[0]; });
  row("operator-", "a number in front", {x}, [](Vars v) { return 1 - v[0]; });
  row("operator/", "a number behind", {x}, [](Vars v) { return v[0] / 2; });
  row("operator/", "a number in front", {positive}, [](Vars v) { return 2 / v[0]; });
  const auto changed = [&](const char* op, auto change) {
    row(op, "two tensors", {x, {{3}, 0.5, 2}}, [change](Vars v) {
      Variable y = v[0];
      change(y, v[1]);
      return y;
    });
    row(op, "a number", {x}, [change](Vars v) {
      Variable y = v[0];
      change(y, 2);
      return y + v[0];
    });
  };
  changed("operator+=", [](Variable& y, const auto& z) { y += z; });
  changed("operator-=", [](Variable& y, const auto& z) { y -= z; });
  changed("operator*=", [](Variable& y, const auto& z) { y *= z; });
  changed("operator/=", [](Variable& y, const auto& z) { y /= z; });

  row("rsqrt", "positive", {{{5, 67}, 0.5, 3}}, [](Vars v) { return rsqrt(v[0]); });
  row("rsqrt", "empty", {{{0}, 0.5, 3}}, [](Vars v) { return rsqrt(v[0]); });
  row("log1p", "both sides of 0", {{{5, 67}, -0.8, 3}}, [](Vars v) { return log1p(v[0]); });
  row("expm1", "both sides of 0", {{{5, 67}, -3, 3}}, [](Vars v) { return expm1(v[0]); });
  row("erf", "both sides", {{{5, 67}, -3, 3}}, [](Vars v) { return erf(v[0]); });
  row("erf", "empty", {{{0}}}, [](Vars v) { return erf(v[0]); });
  for (const double exponent : {0.0, 1.0, 2.0, 3.0, -1.0}) {
    row("pow", fmt::format("to {}", exponent), {{{4, 5}}}, [=](Vars v) { return pow(v[0], exponent); });
  }
  row("pow", "to 0.5", {positive}, [](Vars v) { return pow(v[0], 0.5); });
  row("pow", "empty", {{{0, 2}}}, [](Vars v) { return pow(v[0], 3); });
  row("pow", "two tensors", {positive, x}, [](Vars v) { return pow(v[0], v[1]); });
  row("pow", "broadcast", {{{2, 1, 3}, 0.5, 2}, {{4, 1}}}, [](Vars v) { return pow(v[0], v[1]); });
  row("pow", "with itself", {positive}, [](Vars v) { return pow(v[0], v[0]); });
  const Tensor mask = whole({1, 0, 0, 1, 1, 0}, {2, 3}).to(DType::kBool);
  row("where", "a number elsewhere", {x}, [mask](Vars v) { return where(near(v, mask), v[0], 0.5); });
  row("where", "a number first", {x}, [mask](Vars v) { return where(near(v, mask), 0.5, v[0]); });

  // Reductions, over the axes of the table and as one number or a span.
  using Reduce = Variable (*)(const Variable&, const Axes&, bool);
  const std::pair<const char*, Reduce> reductions[] = {
      {"prod", prod},
      {"max", max},
      {"min", min},
      {"var", [](const Variable& v, const Axes& axes, bool keep) { return var(v, axes, keep); }},
      {"stddev", [](const Variable& v, const Axes& axes, bool keep) { return stddev(v, axes, keep); }},
      {"norm", norm},
      {"logsumexp", logsumexp}};
  for (const auto& [op, function] : reductions) {
    const Reduce f = function;
    for (const bool keep : {false, true}) {
      const char* kept = keep ? ", kept" : "";
      row(op, fmt::format("everything{}", kept), {block}, [=](Vars v) { return f(v[0], {}, keep); });
      row(op, fmt::format("last axis{}", kept), {block}, [=](Vars v) { return f(v[0], -1, keep); });
      row(op, fmt::format("first axis{}", kept), {block}, [=](Vars v) { return f(v[0], {0}, keep); });
      row(op, fmt::format("middle axis{}", kept), {block}, [=](Vars v) { return f(v[0], 1, keep); });
      row(op, fmt::format("outer axes{}", kept), {block}, [=](Vars v) { return f(v[0], {0, 2}, keep); });
      row(op, fmt::format("two of four{}", kept), {{{2, 3, 2, 2}}}, [=](Vars v) {
        return f(v[0], std::vector<int>{3, 1}, keep);
      });
    }
    row(op, "no rows", {{{0, 3}}}, [=](Vars v) { return f(v[0], 1, false); });
    row(op, "long rows", {{{3, 150}, 0.9, 1.1}}, [=](Vars v) { return f(v[0], 1, false); });
  }
  row("prod", "of nothing", {{{2, 0}}}, [](Vars v) { return prod(v[0], 1); });
  row("prod", "a zero", {x}, [](Vars v) {
    return prod(v[0] * Variable(Tensor::from(std::vector{1., 0., 1.}, {3}).to(v[0].dtype()).to(v[0].device())), 1);
  });
  row("norm", "of nothing", {{{2, 0}}}, [](Vars v) { return norm(v[0], 1); });
  row("var", "as NumPy counts", {block}, [](Vars v) { return var(v[0], 1, false, 0); });
  row("stddev", "as NumPy counts", {block}, [](Vars v) { return stddev(v[0], 1, false, 0); });
  row("cumsum", "last axis", {block}, [](Vars v) { return cumsum(v[0], -1); });
  row("cumsum", "first axis", {block}, [](Vars v) { return cumsum(v[0], 0); });
  row("cumsum", "a long row", {{{150}}}, [](Vars v) { return cumsum(v[0], 0); });
  row("cumsum", "empty", {{{2, 0}}}, [](Vars v) { return cumsum(v[0], 1); });

  // Shape.
  row("unsqueeze", "in the middle", {x}, [](Vars v) { return unsqueeze(v[0], 1); });
  row("unsqueeze", "behind", {x}, [](Vars v) { return unsqueeze(v[0], -1); });
  row("unsqueeze", "empty", {{{0, 2}}}, [](Vars v) { return unsqueeze(v[0], 0); });
  row("squeeze", "in the middle", {{{2, 1, 3}}}, [](Vars v) { return squeeze(v[0], -2); });
  row("squeeze", "empty", {{{0, 1}}}, [](Vars v) { return squeeze(v[0], 1); });
  row("flatten", "everything", {block}, [](Vars v) { return flatten(v[0]); });
  row("flatten", "behind the first axis", {block}, [](Vars v) { return flatten(v[0], 1); });
  row("flatten", "a scalar", {{{}}}, [](Vars v) { return flatten(v[0]); });
  row("flatten", "empty", {{{0, 2}}}, [](Vars v) { return flatten(v[0]); });
  row("permute", "a span of axes", {block}, [](Vars v) { return permute(v[0], std::vector<int>{1, -1, 0}); });
  row("slice", "counted from the end", {block}, [](Vars v) { return slice(v[0], 2, -3, -1); });
  row("slice", "every second", {{{2, 7}}}, [](Vars v) { return slice(v[0], 1, 1, 6, 2); });
  row("slice", "a step over everything", {{{2, 7}}}, [](Vars v) { return slice(v[0], 1, 2, 7, 9); });
  row("select", "the last one", {block}, [](Vars v) { return select(v[0], 1, -1); });
  rows_of_parts("split", "by size", {{{7, 2}}}, [](Vars v) { return split(v[0], 3); });
  rows_of_parts("split", "by sizes", {{{2, 6}}}, [](Vars v) { return split(v[0], {1, 0, 5}, -1); });
  rows_of_parts("split", "empty", {{{0, 2}}}, [](Vars v) { return split(v[0], 3); });
  rows_of_parts("chunk", "not even", {{{2, 5}}}, [](Vars v) { return chunk(v[0], 4, 1); });
  rows_of_parts("chunk", "empty", {{{0, 2}}}, [](Vars v) { return chunk(v[0], 2); });
  row("flip", "all axes", {block}, [](Vars v) { return flip(v[0]); });
  row("flip", "outer axes", {block}, [](Vars v) { return flip(v[0], {0, -1}); });
  row("flip", "empty", {{{0, 2}}}, [](Vars v) { return flip(v[0], 1); });
  row("tile", "both axes", {x}, [](Vars v) { return tile(v[0], {2, 3}); });
  row("tile", "the last axis", {x}, [](Vars v) { return tile(v[0], {2}); });
  row("tile", "a new axis", {x}, [](Vars v) { return tile(v[0], {2, 1, 2}); });
  row("tile", "no time", {x}, [](Vars v) { return tile(v[0], {0, 1}); });
  row("pad", "all sides", {x}, [](Vars v) { return pad(v[0], {{1, 0}, {2, 3}}, 0.5); });
  row("pad", "empty", {{{0, 2}}}, [](Vars v) { return pad(v[0], {{1, 0}, {0, 0}}); });
  for (const int64_t diagonal : {-1, 0, 2}) {
    row("tril", fmt::format("below {}", diagonal), {{{2, 3, 4}}}, [=](Vars v) { return tril(v[0], diagonal); });
    row("triu", fmt::format("above {}", diagonal), {{{2, 4, 3}}}, [=](Vars v) { return triu(v[0], diagonal); });
  }
  row("tril", "empty", {{{0, 3}}}, [](Vars v) { return tril(v[0]); });
  row("triu", "empty", {{{3, 0}}}, [](Vars v) { return triu(v[0]); });

  // By index.
  row("index_select", "counted from the end", {block}, [](Vars v) {
    return index_select(v[0], 1, near(v, whole({-1, 0, -3}, {3})));
  });
  row("gather", "counted from the end", {x}, [](Vars v) {
    return gather(v[0], 1, near(v, whole({-1, 0, 1, -2}, {2, 2})));
  });
  row("scatter", "last axis", {x, {{2, 2}}}, [](Vars v) {
    return scatter(v[0], 1, near(v, whole({2, 0, 1, 2}, {2, 2})), v[1]);
  });
  row("scatter", "repeated, first axis", {{{4, 3}}, {{3, 3}}}, [](Vars v) {
    return scatter(v[0], 0, near(v, whole({1, 2, 3, 1, 2, 0, 1, 0, 0}, {3, 3})), v[1]);
  });
  row("scatter", "nothing", {x, {{2, 0}}}, [](Vars v) { return scatter(v[0], 1, near(v, whole({}, {2, 0})), v[1]); });
  row("scatter_add", "repeated", {x, {{2, 4}}}, [](Vars v) {
    return scatter_add(v[0], 1, near(v, whole({2, 2, 0, 1, 1, 1, 1, 0}, {2, 4})), v[1]);
  });
  row("scatter_add", "nothing", {x, {{2, 0}}}, [](Vars v) {
    return scatter_add(v[0], 1, near(v, whole({}, {2, 0})), v[1]);
  });

  const auto summed = [&](const char* equation, const Shape& a, const Shape& b) {
    row("einsum", equation, {{a}, {b}}, [equation](Vars v) { return einsum(equation, v[0], v[1]); });
  };
  summed("ij,jk->ik", {2, 3}, {3, 4});
  summed("bqd,bkd->bqk", {2, 3, 4}, {2, 5, 4});
  summed("bhqd, bkhd -> bqhk", {2, 3, 2, 4}, {2, 5, 3, 4});
  summed("ij,jk", {2, 3}, {3, 4});
  summed("i,j->ji", {3}, {4});
  summed("i,i->", {3}, {3});
  summed("ijk,jl->l", {2, 3, 4}, {3, 2});
  summed("ij,ij->ij", {2, 3}, {2, 3});
  summed("ij,jk->ik", {0, 3}, {3, 4});
}

}  // namespace attune::testing
