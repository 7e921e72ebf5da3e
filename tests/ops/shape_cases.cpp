#include "autograd/ops/ops.h"
#include "framework/fail.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;

Tensor integers(const std::vector<int64_t>& values, const Shape& shape) { return Tensor::from(values, shape); }

}  // namespace

void add_shape_cases(std::vector<OpCase>& cases) {
  const auto row = [&](const char* op, std::string what, std::vector<Input> inputs, auto call) {
    cases.push_back({op, std::move(what), std::move(inputs), [call](Vars x) { return Outputs{call(x)}; }});
  };
  const Input x{{2, 3, 4}};

  // Reductions.
  for (const bool keep : {false, true}) {
    const char* kept = keep ? ", kept" : "";
    row("sum", fmt::format("everything{}", kept), {x}, [=](Vars v) { return sum(v[0], {}, keep); });
    row("sum", fmt::format("last axis{}", kept), {x}, [=](Vars v) { return sum(v[0], {-1}, keep); });
    row("sum", fmt::format("first axis{}", kept), {x}, [=](Vars v) { return sum(v[0], {0}, keep); });
    row("sum", fmt::format("middle axis{}", kept), {x}, [=](Vars v) { return sum(v[0], {1}, keep); });
    row("sum", fmt::format("outer axes{}", kept), {x}, [=](Vars v) { return sum(v[0], {0, 2}, keep); });
    row("sum", fmt::format("two of five{}", kept), {{{2, 3, 2, 2, 3}}}, [=](Vars v) {
      return sum(v[0], {1, -2}, keep);
    });
    row("sum", fmt::format("three of five{}", kept), {{{2, 3, 2, 2, 3}}}, [=](Vars v) {
      return sum(v[0], {0, 2, 4}, keep);
    });
    row("mean", fmt::format("everything{}", kept), {x}, [=](Vars v) { return mean(v[0], {}, keep); });
    row("mean", fmt::format("inner axes{}", kept), {x}, [=](Vars v) { return mean(v[0], {1, 2}, keep); });
    row("max", fmt::format("last axis{}", kept), {x}, [=](Vars v) { return max(v[0], -1, keep); });
    row("max", fmt::format("middle axis{}", kept), {x}, [=](Vars v) { return max(v[0], 1, keep); });
    row("max", fmt::format("axis of 1{}", kept), {{{3, 1}}}, [=](Vars v) { return max(v[0], 1, keep); });
  }
  row("sum", "a scalar", {{{}}}, [](Vars v) { return sum(v[0]); });
  row("sum", "axes of 1", {{{1, 3, 1}}}, [](Vars v) { return sum(v[0], {0, 2}); });
  row("sum", "an empty axis", {{{2, 0, 3}}}, [](Vars v) { return sum(v[0], {1}); });
  row("sum", "everything of nothing", {{{0, 3}}}, [](Vars v) { return sum(v[0]); });
  row("sum", "wide rows", {{{3, 150}}}, [](Vars v) { return sum(v[0], {1}); });
  row("sum", "long columns", {{{150, 3}}}, [](Vars v) { return sum(v[0], {0}); });
  row("mean", "a row of nothing", {{{0, 3}}}, [](Vars v) { return mean(v[0], {1}); });
  row("max", "no rows", {{{0, 3}}}, [](Vars v) { return max(v[0], 1); });
  row("masked_mean", "some, none, all", {{{3, 4, 5}}}, [](Vars v) {
    return masked_mean(v[0], near(v, integers({2, 0, 4}, {3})));
  });
  row("masked_mean", "empty batch", {{{0, 4, 5}}},
      [](Vars v) { return masked_mean(v[0], near(v, integers({}, {0}))); });
  row("masked_mean", "no positions", {{{2, 0, 3}}}, [](Vars v) {
    return masked_mean(v[0], near(v, integers({0, 0}, {2})));
  });

  // Shape.
  row("reshape", "with a free extent", {x}, [](Vars v) { return reshape(v[0], {3, -1}); });
  row("reshape", "to a shape", {x}, [](Vars v) { return reshape(v[0], Shape{4, 6}); });
  row("reshape", "to a scalar", {{{1, 1}}}, [](Vars v) { return reshape(v[0], Shape{}); });
  row("reshape", "empty", {{{0, 3}}}, [](Vars v) { return reshape(v[0], {3, 0}); });
  row("permute", "three axes", {x}, [](Vars v) { return permute(v[0], {2, 0, -2}); });
  row("permute", "empty", {{{0, 3}}}, [](Vars v) { return permute(v[0], {1, 0}); });
  row("transpose", "first and last", {x}, [](Vars v) { return transpose(v[0], 0, -1); });
  row("slice", "middle of an axis", {x}, [](Vars v) { return slice(v[0], -1, 1, 3); });
  row("slice", "parts that overlap", {x},
      [](Vars v) { return slice(v[0], 1, 0, 2) + slice(v[0], 1, 1, 3) * slice(v[0], 1, 1, 3); });
  row("slice", "nothing", {x}, [](Vars v) { return slice(v[0], 0, 1, 1); });
  row("select", "middle axis", {x}, [](Vars v) { return select(v[0], 1, 2); });
  row("select", "one axis only", {{{3}}}, [](Vars v) { return select(v[0], 0, 1); });
  row("expand", "an axis of 1 and a new one", {{{3, 1}}}, [](Vars v) { return expand(v[0], {2, 3, 4}); });
  row("expand", "to nothing", {{{1, 3}}}, [](Vars v) { return expand(v[0], {0, 3}); });
  row("concat", "three parts, last axis", {{{2, 3}}, {{2, 1}}, {{2, 0}}}, [](Vars v) {
    return concat({v[0], v[1], v[2]}, -1);
  });
  row("concat", "first axis", {{{2, 3}}, {{1, 3}}}, [](Vars v) { return concat(v, 0); });
  row("concat", "a part twice", {{{2, 3}}}, [](Vars v) { return concat({v[0], v[0]}, 1); });
  row("stack", "new last axis", {{{2, 3}}, {{2, 3}}}, [](Vars v) { return stack(v, -1); });
  row("stack", "new first axis", {{{2, 3}}, {{2, 3}}}, [](Vars v) { return stack(v, 0); });
  row("index_select", "repeated, middle axis", {x}, [](Vars v) {
    return index_select(v[0], 1, near(v, integers({2, 0, 2, 2}, {4})));
  });
  row("index_select", "no index", {x}, [](Vars v) { return index_select(v[0], 0, near(v, integers({}, {0}))); });
  row("gather", "last axis, repeated", {{{2, 3}}}, [](Vars v) {
    return gather(v[0], -1, near(v, integers({2, 2, 0, 1, 1, 1, 1, 0}, {2, 4})));
  });
  row("gather", "first axis", {{{2, 3}}}, [](Vars v) { return gather(v[0], 0, near(v, integers({1, 0, 1}, {1, 3}))); });

  // Embedding and dropout.
  row("embedding", "repeated ids", {{{5, 3}}}, [](Vars v) {
    return embedding(v[0], near(v, integers({4, 0, 4, 2, 4, 0}, {2, 3})));
  });
  row("embedding", "scaled rows wider than a vector", {{{4, 70}}}, [](Vars v) {
    return embedding(v[0], near(v, integers({1, 3, 1}, {3})), -1, 1.5);
  });
  row("embedding", "no ids", {{{4, 3}}}, [](Vars v) { return embedding(v[0], near(v, integers({}, {2, 0}))); });
  row("dropout", "p 0.4", {{{3, 67}}}, [](Vars v) {
    RandomStream stream(11);
    return dropout(v[0], 0.4, stream);
  });
  row("dropout", "p 0", {{{3}}}, [](Vars v) { return dropout(v[0], 0) * 2; });
  row("dropout", "empty", {{{0, 3}}}, [](Vars v) {
    RandomStream stream(11);
    return dropout(v[0], 0.5, stream);
  });
}

}  // namespace attune::testing
