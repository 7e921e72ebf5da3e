#include "autograd/ops/recurrent.h"
#include "tests/ops/cases.h"

namespace attune::testing {
namespace {

using Vars = std::span<const Variable>;

struct Sizes {
  int64_t batch = 3, steps = 4, inputs = 2, width = 3, directions = 1;
};

// x, the states, then the parameters of every direction.
std::vector<Input> operands(const Sizes& s, int64_t gates, bool bias) {
  std::vector<Input> inputs = {{{s.batch, s.steps, s.inputs}}};
  for (int64_t i = gates == 4 ? 2 : 1; i > 0; --i) inputs.push_back({{s.directions, s.batch, s.width}, -1, 1});
  for (int64_t i = 0; i < s.directions; ++i) {
    inputs.push_back({{gates * s.width, s.inputs}, -1, 1});
    inputs.push_back({{gates * s.width, s.width}, -1, 1});
    if (!bias) continue;
    inputs.push_back({{gates * s.width}, -1, 1});
    inputs.push_back({{gates * s.width}, -1, 1});
  }
  return inputs;
}

std::vector<RecurrentParameters> parameters(Vars x, bool bias) {
  std::vector<RecurrentParameters> out;
  for (size_t i = 0; i < x.size();) {
    RecurrentParameters& p = out.emplace_back();
    p.weight_ih = x[i++];
    p.weight_hh = x[i++];
    if (!bias) continue;
    p.bias_ih = x[i++];
    p.bias_hh = x[i++];
  }
  return out;
}

}  // namespace

void add_recurrent_cases(std::vector<OpCase>& cases) {
  const auto rows = [&](const std::string& what, const Sizes& sizes, const std::vector<int64_t>& lengths = {},
                        bool bias = true) {
    const Tensor packed = lengths.empty() ? Tensor() : Tensor::from(lengths, {static_cast<int64_t>(lengths.size())});
    cases.push_back({"gru", what, operands(sizes, 3, bias), [=](Vars x) {
                       const RecurrentResult r = gru(x[0], x[1], parameters(x.subspan(2), bias), near(x, packed));
                       return Outputs{r.output, r.hidden};
                     }});
    cases.push_back({"lstm", what, operands(sizes, 4, bias), [=](Vars x) {
                       const RecurrentResult r =
                           lstm(x[0], x[1], x[2], parameters(x.subspan(3), bias), near(x, packed));
                       return Outputs{r.output, r.hidden, r.cell};
                     }});
    cases.push_back({"gru", "reset before, " + what, operands(sizes, 3, bias), [=](Vars x) {
                       const RecurrentResult r =
                           gru(x[0], x[1], parameters(x.subspan(2), bias), near(x, packed), {}, {.reset_after = false});
                       return Outputs{r.output, r.hidden};
                     }});
    for (const Activation activation : {Activation::kTanh, Activation::kRelu}) {
      const std::string name = activation == Activation::kTanh ? "tanh, " : "relu, ";
      cases.push_back({"rnn", name + what, operands(sizes, 1, bias), [=](Vars x) {
                         const RecurrentResult r =
                             rnn(x[0], x[1], parameters(x.subspan(2), bias), activation, near(x, packed));
                         return Outputs{r.output, r.hidden};
                       }});
    }
  };
  rows("one direction", {});
  rows("two directions", {.directions = 2});
  rows("two directions with lengths, one of them 0", {.directions = 2}, {3, 0, 4});
  rows("lengths below all steps, no bias", {}, {1, 2, 1}, false);
  rows("one step", {.steps = 1});
  rows("one step, one sample without", {.steps = 1, .directions = 2}, {1, 0, 1});
  rows("one sample", {.batch = 1, .directions = 2});
  rows("wide", {.batch = 7, .steps = 2, .inputs = 3, .width = 19});
  rows("no samples", {.batch = 0});
  rows("no steps", {.steps = 0, .directions = 2});
  rows("extents of 1", {.batch = 1, .steps = 1, .inputs = 1, .width = 1});

  for (const std::vector<int64_t>& lengths : {std::vector<int64_t>(), {3, 0, 4}}) {
    const Tensor packed = lengths.empty() ? Tensor() : Tensor::from(lengths, {3});
    const std::string what = lengths.empty() ? "gates of other inputs" : "gates of other inputs, lengths";
    std::vector<Input> inputs = operands({}, 3, true);
    inputs.push_back({{3, 4, 9}, -1, 1});
    cases.push_back({"gru", what, inputs, [packed](Vars x) {
                       return Outputs{gru(x[0], x[1], parameters(x.subspan(2, 4), true), near(x, packed), x[6]).output};
                     }});
    cases.push_back({"gru", "reset before, " + what, inputs, [packed](Vars x) {
                       return Outputs{gru(x[0], x[1], parameters(x.subspan(2, 4), true), near(x, packed), x[6],
                                          {.reset_after = false})
                                          .output};
                     }});
    inputs = operands({}, 1, true);
    inputs.push_back({{3, 4, 3}, -1, 1});
    cases.push_back(
        {"rnn", what, inputs, [packed](Vars x) {
           return Outputs{
               rnn(x[0], x[1], parameters(x.subspan(2, 4), true), Activation::kTanh, near(x, packed), x[6]).output};
         }});
    inputs = operands({.steps = 1}, 4, true);
    inputs.push_back({{3, 1, 12}, -1, 1});
    if (!lengths.empty()) continue;
    cases.push_back({"lstm", "one step, gates of other inputs", inputs, [](Vars x) {
                       const auto r = lstm(x[0], x[1], x[2], parameters(x.subspan(3, 4), true), {}, x[7]);
                       return Outputs{r.output, r.cell};
                     }});
  }
  cases.push_back(
      {"gru", "no first state; only the last one is used", {{{3, 4, 2}}, {{9, 2}, -1, 1}, {{9, 3}, -1, 1}}, [](Vars x) {
         return Outputs{gru(x[0], {}, parameters(x.subspan(1), false)).hidden};
       }});
  cases.push_back({"lstm",
                   "no first states; only the output is used",
                   {{{3, 4, 2}}, {{12, 2}, -1, 1}, {{12, 3}, -1, 1}},
                   [](Vars x) { return Outputs{lstm(x[0], {}, {}, parameters(x.subspan(1), false)).output}; }});
}

}  // namespace attune::testing
