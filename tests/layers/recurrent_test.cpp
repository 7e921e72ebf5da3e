#include "layers/recurrent.h"

#include <catch2/catch_test_macros.hpp>

#include <cmath>
#include <limits>

#include "autograd/ops/ops.h"
#include "autograd/tape.h"
#include "framework/error.h"
#include "tests/support/errors.h"
#include "tests/support/gradients.h"
#include "tests/support/heap_counter.h"

using namespace attune;
using namespace attune::testing;

namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

Tensor lengths_of(const std::vector<int64_t>& values) {
  return Tensor::from(values, {static_cast<int64_t>(values.size())});
}

Variable parameter(const Module& module, const std::string& name) {
  for (const auto& [own, variable] : module.named_parameters()) {
    if (own == name) return variable;
  }
  FAIL("no parameter " << name);
  return {};
}

/// x W^T + b for the block of rows of one gate.
Variable gate(const Module& module, const std::string& kind, const std::string& suffix, const Variable& x,
              int64_t index, int64_t width) {
  const auto block = [&](const std::string& name) {
    return slice(parameter(module, name + kind + suffix), 0, index * width, (index + 1) * width);
  };
  return linear(x, block("weight_"), block("bias_"));
}

/// One step by the formulas, from other ops.
Variable gru_formula(const Module& module, const std::string& suffix, const Variable& x, const Variable& h) {
  const int64_t n = h.dim(1);
  const auto in = [&](int64_t i) { return gate(module, "ih", suffix, x, i, n); };
  const auto back = [&](int64_t i) { return gate(module, "hh", suffix, h, i, n); };
  const Variable r = sigmoid(in(0) + back(0));
  const Variable z = sigmoid(in(1) + back(1));
  const Variable fresh = tanh(in(2) + r * back(2));
  return fresh - z * fresh + z * h;
}

std::pair<Variable, Variable> lstm_formula(const Module& module, const std::string& suffix, const Variable& x,
                                           const Variable& h, const Variable& c) {
  const int64_t n = h.dim(1);
  const auto sum = [&](int64_t i) { return gate(module, "ih", suffix, x, i, n) + gate(module, "hh", suffix, h, i, n); };
  const Variable next = sigmoid(sum(1)) * c + sigmoid(sum(0)) * tanh(sum(2));
  return {sigmoid(sum(3)) * tanh(next), next};
}

template <class Layer>
struct Run {
  RecurrentResult result;
  std::vector<Tensor> gradients;
};

/// Results and all gradients of a weighted sum of them.
template <class Layer>
Run<Layer> run(Layer& layer, const Tensor& x, const Tensor& lengths) {
  layer.zero_grad();
  const Variable in(x.clone(), true);
  Run<Layer> out{layer(in, lengths), {}};
  Variable loss = sum(square(out.result.output)) + sum(out.result.hidden * 0.7);
  if (out.result.cell.defined()) loss = loss + sum(out.result.cell * 0.3);
  loss.backward();
  out.gradients.push_back(in.grad());
  for (const Variable& p : layer.parameters()) out.gradients.push_back(p.grad().clone());
  return out;
}

}  // namespace

TEST_CASE("GRU and LSTM compute their formulas, in both directions and through two layers", "[layers][recurrent]") {
  constexpr int64_t kBatch = 2, kSteps = 4, kInputs = 3, kWidth = 5;
  const Variable x(random_tensor({kBatch, kSteps, kInputs}));
  const Tensor first = random_tensor({4, kBatch, kWidth}, DType::kFloat64, 2);
  const Tensor first_cell = random_tensor({4, kBatch, kWidth}, DType::kFloat64, 3);
  const RecurrentOptions options{.layers = 2, .bidirectional = true};
  GRU gru_layer(kInputs, kWidth, options);
  LSTM lstm_layer(kInputs, kWidth, options);
  for (Module* module : {static_cast<Module*>(&gru_layer), static_cast<Module*>(&lstm_layer)}) {
    module->to(DType::kFloat64);
    const bool is_lstm = module == &lstm_layer;
    Variable in = x;
    std::vector<Variable> hidden, cells;
    for (int64_t layer = 0; layer < 2; ++layer) {
      std::vector<Variable> outputs(kSteps);
      for (int64_t direction = 0; direction < 2; ++direction) {
        const std::string suffix = "_l" + std::to_string(layer) + (direction == 0 ? "" : "_reverse");
        Variable h(first.select(0, 2 * layer + direction));
        Variable c(first_cell.select(0, 2 * layer + direction));
        for (int64_t k = 0; k < kSteps; ++k) {
          const int64_t t = direction == 0 ? k : kSteps - 1 - k;
          if (is_lstm) {
            std::tie(h, c) = lstm_formula(*module, suffix, select(in, 1, t), h, c);
          } else {
            h = gru_formula(*module, suffix, select(in, 1, t), h);
          }
          Variable& y = outputs[static_cast<size_t>(t)];
          y = direction == 0 ? h : concat({y, h}, 1);
        }
        hidden.push_back(h);
        cells.push_back(c);
      }
      in = stack(outputs, 1);
    }
    const RecurrentResult result =
        is_lstm ? lstm_layer(x, {}, Variable(first), Variable(first_cell)) : gru_layer(x, {}, Variable(first));
    CHECK(max_difference(result.output.value(), in.value()) < 1e-14);
    CHECK(max_difference(result.hidden.value(), stack(hidden, 0).value()) < 1e-14);
    if (is_lstm) CHECK(max_difference(result.cell.value(), stack(cells, 0).value()) < 1e-14);
  }
  Tape::current().clear();
}

TEST_CASE("GRU and LSTM have right gradients with lengths, layers and directions", "[layers][recurrent][gradcheck]") {
  const Tensor lengths = lengths_of({3, 0, 1});
  const Tensor x = random_tensor({3, 4, 2});
  const Tensor h0 = random_tensor({4, 3, 3}, DType::kFloat64, 2);
  const RecurrentOptions options{.layers = 2, .bidirectional = true};
  GRU gru_layer(2, 3, options);
  LSTM lstm_layer(2, 3, options);
  GRU reset_before(2, 3, options, {.reset_after = false});
  Rnn plain(2, 3, options);
  const auto check = [&](auto& layer) {
    check_gradients(layer, {x, h0}, [&](auto in) {
      const RecurrentResult r = layer(in[0], lengths, in[1]);
      return concat({reshape(r.output, {-1}), reshape(r.hidden, {-1})}, 0);
    });
  };
  check(gru_layer);
  check(reset_before);
  check(plain);
  check_gradients(lstm_layer, {x, h0, h0}, [&](auto in) {
    const RecurrentResult r = lstm_layer(in[0], lengths, in[1], in[2]);
    return concat({reshape(r.output, {-1}), reshape(r.hidden, {-1}), reshape(r.cell, {-1})}, 0);
  });
}

TEST_CASE("a padded batch is every sequence alone, and padding reaches nothing", "[layers][recurrent]") {
  const std::vector<int64_t> lengths = {4, 6, 0, 1, 6, 3, 5};
  const auto batch = static_cast<int64_t>(lengths.size());
  constexpr int64_t kSteps = 7, kInputs = 3, kWidth = 20;
  const auto check = [&](auto& layer) {
    layer.to(DType::kFloat64);
    Tensor x = random_tensor({batch, kSteps, kInputs});
    const auto clean = run(layer, x, lengths_of(lengths));
    for (int64_t b = 0; b < batch; ++b) x.select(0, b).slice(0, lengths[static_cast<size_t>(b)], kSteps).fill_(kNan);
    const auto dirty = run(layer, x, lengths_of(lengths));
    CHECK(same_values(clean.result.output.value(), dirty.result.output.value()));
    CHECK(same_values(clean.result.hidden.value(), dirty.result.hidden.value()));
    for (size_t i = 0; i < clean.gradients.size(); ++i) CHECK(same_values(clean.gradients[i], dirty.gradients[i]));

    for (int64_t b = 0; b < batch; ++b) {
      INFO("sample " << b);
      const int64_t length = lengths[static_cast<size_t>(b)];
      const Tensor own = x.slice(0, b, b + 1).slice(1, 0, length);
      const RecurrentResult alone = layer(Variable(own));
      const auto of_sample = [&](const Variable& y, int axis) { return y.value().slice(axis, b, b + 1); };
      CHECK(max_difference(alone.output.value(), of_sample(dirty.result.output, 0).slice(1, 0, length)) < 1e-14);
      CHECK(max_difference(alone.hidden.value(), of_sample(dirty.result.hidden, 1)) < 1e-14);
      if (alone.cell.defined()) CHECK(max_difference(alone.cell.value(), of_sample(dirty.result.cell, 1)) < 1e-14);
      CHECK(all_zero(of_sample(dirty.result.output, 0).slice(1, length, kSteps)));
      CHECK(all_zero(dirty.gradients[0].slice(0, b, b + 1).slice(1, length, kSteps)));
    }
  };
  GRU gru_layer(kInputs, kWidth, {.layers = 2, .bidirectional = true});
  LSTM lstm_layer(kInputs, kWidth, {.bidirectional = true});
  GRU reset_before(kInputs, kWidth, {.layers = 2, .bidirectional = true}, {.reset_after = false});
  Rnn plain(kInputs, kWidth, {.layers = 2, .bidirectional = true});
  check(gru_layer);
  check(lstm_layer);
  check(reset_before);
  check(plain);
}

TEST_CASE("a sample without a step keeps its first state", "[layers][recurrent]") {
  LSTM layer(3, 4, {.bidirectional = true});
  const Tensor h0 = random_tensor({2, 2, 4}, DType::kFloat32);
  const Tensor c0 = random_tensor({2, 2, 4}, DType::kFloat32, 2);
  const Variable x(random_tensor({2, 5, 3}, DType::kFloat32));
  const RecurrentResult result = layer(x, lengths_of({5, 0}), Variable(h0), Variable(c0));
  CHECK(same_values(result.hidden.value().select(1, 1), h0.select(1, 1)));
  CHECK(same_values(result.cell.value().select(1, 1), c0.select(1, 1)));
  CHECK_FALSE(same_values(result.hidden.value().select(1, 0), h0.select(1, 0)));
  const RecurrentResult empty = layer(Variable(x.value().slice(1, 0, 0)), {}, Variable(h0), Variable(c0));
  CHECK(empty.output.shape() == Shape{2, 0, 8});
  CHECK(same_values(empty.hidden.value(), h0));
  CHECK(layer(Variable(x.value().slice(0, 0, 0))).hidden.shape() == Shape{2, 0, 4});
  Tape::current().clear();
}

TEST_CASE("threads share the sequences without changing a bit of the results", "[layers][recurrent][threads]") {
  // Wide and long enough to be dealt out; a hidden size above the depth of a packed block.
  GRU gru_layer(8, 300, {.bidirectional = true});
  LSTM lstm_layer(8, 40);
  const Tensor x = random_tensor({19, 9, 8});
  const Tensor lengths = lengths_of({9, 1, 2, 8, 7, 9, 9, 3, 0, 5, 5, 5, 9, 2, 4, 6, 8, 1, 9});
  const int before = num_threads();
  const auto check = [&](auto& layer) {
    layer.to(DType::kFloat64);
    set_num_threads(1);
    const auto one = run(layer, x, lengths);
    for (int threads : {2, 3, 5}) {
      set_num_threads(threads);
      const auto several = run(layer, x, lengths);
      CHECK(same_values(one.result.output.value(), several.result.output.value()));
      CHECK(same_values(one.result.hidden.value(), several.result.hidden.value()));
      for (size_t i = 0; i < one.gradients.size(); ++i) {
        CHECK(max_difference(one.gradients[i], several.gradients[i]) < 1e-10);
      }
    }
  };
  check(gru_layer);
  check(lstm_layer);
  set_num_threads(before);
}

TEST_CASE("cells take one step of their layers", "[layers][recurrent]") {
  constexpr int64_t kBatch = 6, kSteps = 3, kInputs = 3, kWidth = 270;  // deeper than a packed block
  const Tensor x = random_tensor({kBatch, kSteps, kInputs});
  GRU gru_layer(kInputs, kWidth);
  LSTM lstm_layer(kInputs, kWidth);
  GRUCell gru_cell(kInputs, kWidth);
  LSTMCell lstm_cell(kInputs, kWidth);
  const auto take_over = [](Module& cell, Module& layer) {
    StateDict state;
    for (auto& [name, tensor] : layer.state_dict()) state.emplace_back(name.substr(0, name.size() - 3), tensor);
    cell.load_state_dict(state);
    cell.to(DType::kFloat64);
    layer.to(DType::kFloat64);
  };
  take_over(gru_cell, gru_layer);
  take_over(lstm_cell, lstm_layer);
  const RecurrentResult all = gru_layer(Variable(x));
  const RecurrentResult all_lstm = lstm_layer(Variable(x));
  Variable h(Tensor::zeros({kBatch, kWidth}, DType::kFloat64));
  Variable state = h, memory = h;
  for (int64_t t = 0; t < kSteps; ++t) {
    const Variable in(x.select(1, t));
    h = gru_cell(in, h);
    std::tie(state, memory) = lstm_cell(in, state, memory);
    CHECK(max_difference(h.value(), all.output.value().select(1, t)) < 1e-14);
    CHECK(max_difference(state.value(), all_lstm.output.value().select(1, t)) < 1e-14);
  }
  CHECK(max_difference(memory.value(), all_lstm.cell.value().select(0, 0)) < 1e-14);
  Tape::current().clear();

  GRUCell small(2, 3, false);
  const Tensor h0 = random_tensor({2, 3}, DType::kFloat64, 2);
  check_gradients(small, {random_tensor({2, 2}), h0}, [&](auto in) { return small(in[0], small(in[0], in[1])); });
  LSTMCell small_lstm(2, 3);
  check_gradients(small_lstm, {random_tensor({2, 2}), h0, h0}, [&](auto in) {
    const auto next = small_lstm(in[0], in[1], in[2]);
    return concat({next.first, next.second}, 1);
  });
}

TEST_CASE("dropout stands between layers, in training only", "[layers][recurrent]") {
  GRU layer(3, 16, {.layers = 2, .dropout = 0.5});
  GRU single(3, 16, {.dropout = 0.5});
  const Variable x(random_tensor({2, 4, 3}, DType::kFloat32));
  CHECK_FALSE(same_values(layer(x).output.value(), layer(x).output.value()));
  CHECK(same_values(layer(x).hidden.value().select(0, 0), layer(x).hidden.value().select(0, 0)));
  CHECK(same_values(single(x).output.value(), single(x).output.value()));
  layer.eval();
  const RandomState before = default_stream().state();
  CHECK(same_values(layer(x).output.value(), layer(x).output.value()));
  CHECK(default_stream().state() == before);
  Tape::current().clear();
}

TEST_CASE("a layer of either kind is one node of the tape", "[layers][recurrent]") {
  GRU gru_layer(3, 4, {.bidirectional = true});
  LSTM lstm_layer(3, 4, {.bidirectional = true});
  const Variable x(random_tensor({2, 5, 3}, DType::kFloat32));
  Tape::current().clear();
  const auto of_gru = gru_layer(x, lengths_of({5, 2}));
  CHECK(Tape::current().size() == 1);
  const auto of_lstm = lstm_layer(x, lengths_of({5, 2}));
  CHECK(Tape::current().size() == 2);
  Tape::current().clear();
  {
    const NoGrad inference;
    gru_layer(x);
  }
  CHECK(Tape::current().size() == 0);
}

TEST_CASE("recurrent layers ask neither heap nor system for memory in the steady state",
          "[layers][recurrent][memory]") {
  GRU gru_layer(32, 64, {.bidirectional = true});
  LSTM lstm_layer(128, 64);
  LSTMCell cell(64, 64);
  const Variable x(random_tensor({16, 12, 32}, DType::kFloat32));
  const Tensor lengths = lengths_of({12, 3, 5, 12, 7, 9, 1, 2, 11, 12, 12, 4, 6, 8, 10, 12});
  const auto step = [&] {
    const RecurrentResult result = lstm_layer(gru_layer(x, lengths).output, lengths);
    const Variable last = reshape(result.hidden, {16, 64});
    const auto next = cell(last, last, reshape(result.cell, {16, 64}));
    sum(square(next.first)).backward();
  };
  for (int i = 0; i < 5; ++i) step();
  const uint64_t heap = heap_allocations();
  const uint64_t system = memory_stats().system_allocations;
  for (int i = 0; i < 5; ++i) step();
  CHECK(heap_allocations() == heap);
  CHECK(memory_stats().system_allocations == system);
}

TEST_CASE("recurrent layers carry PyTorch's parameter names", "[layers][recurrent]") {
  const auto names = [](const Module& module) {
    std::vector<std::string> out;
    for (const auto& [name, variable] : module.named_parameters()) {
      out.push_back(name + " " + variable.shape().to_string());
    }
    return out;
  };
  CHECK(names(GRU(2, 3, {.layers = 2, .bidirectional = true, .bias = false})) ==
        std::vector<std::string>{"weight_ih_l0 [9, 2]", "weight_hh_l0 [9, 3]", "weight_ih_l0_reverse [9, 2]",
                                 "weight_hh_l0_reverse [9, 3]", "weight_ih_l1 [9, 6]", "weight_hh_l1 [9, 3]",
                                 "weight_ih_l1_reverse [9, 6]", "weight_hh_l1_reverse [9, 3]"});
  CHECK(names(LSTMCell(2, 3)) ==
        std::vector<std::string>{"weight_ih [12, 2]", "weight_hh [12, 3]", "bias_ih [12]", "bias_hh [12]"});
}

TEST_CASE("recurrent layers name themselves, the sample and both shapes in errors", "[layers][recurrent][errors]") {
  struct Model : Module {
    GRU& encoder = child<GRU>("encoder", 3, 4);
    LSTM& memory = child<LSTM>("memory", 3, 4, RecurrentOptions{.layers = 2});
    GRUCell& cell = child<GRUCell>("cell", 3, 4);
    LSTMCell& lstm_cell = child<LSTMCell>("lstm_cell", 3, 4);
  } model;
  const auto zeros = [](const Shape& shape) { return Variable(Tensor::zeros(shape)); };
  const Variable x = zeros({2, 5, 3});
  CHECK(error_text<ShapeError>([&] {
          model.encoder(zeros({2, 5, 4}));
        }) == "encoder: input is [2, 5, 4], expected [B, S, 3]");
  CHECK(error_text<ShapeError>([&] {
          model.encoder(zeros({2, 3}));
        }) == "encoder: input is [2, 3], expected [B, S, 3]");
  CHECK(error_text<ShapeError>([&] {
          model.memory(x, {}, zeros({1, 2, 4}));
        }) == "memory: an initial state is [1, 2, 4], expected [layers * directions, B, hidden] = [2, 2, 4]");
  CHECK(error_text<ValueError>([&] {
          model.encoder(x, lengths_of({5, 6}));
        }) == "gru: sample 1 has length 6, expected 0 ... 5 steps");
  CHECK(error_text<ValueError>([&] {
          model.memory(x, lengths_of({-1, 2}));
        }) == "lstm: sample 0 has length -1, expected 0 ... 5 steps");
  CHECK(error_text<ShapeError>([&] { model.encoder(x, lengths_of({5})); }) ==
        "gru: lengths have shape [1], expected [2]");
  CHECK_THROWS_AS(model.encoder(x, Tensor::zeros({2})), DTypeError);
  CHECK(error_text<ShapeError>([&] {
          model.cell(zeros({2, 4}), zeros({2, 4}));
        }) == "cell: input is [2, 4], expected [B, 3]");
  CHECK(error_text<ShapeError>([&] {
          model.lstm_cell(zeros({2, 3}), zeros({2, 4}), zeros({3, 4}));
        }) == "lstm_cell: a state is [3, 4], expected [2, 4]");
  CHECK(error_text<ValueError>([] { GRU(0, 2); }) == "GRU: widths 0 -> 2 given, expected at least 1 each");
  CHECK(error_text<ValueError>([] { LSTM(1, 2, {.layers = 0}); }) == "LSTM: 0 layers given, expected at least 1");
  CHECK_THROWS_AS(GRU(1, 2, {.dropout = 1}), ValueError);
  CHECK_THROWS_AS(GRUCell(1, 0), ValueError);
  Tape::current().clear();
}
